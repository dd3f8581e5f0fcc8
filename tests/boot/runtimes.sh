#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: containers of containerd and of LXC on clones of one base image.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/../kselftest/dm-qcow2/lib.sh"
scratch ext4
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p tree/{bin,dev,proc,sys,tmp,etc}
cp "$(command -v busybox)" tree/bin/
for name in sh sleep sync; do ln -s busybox tree/bin/$name; done
cat >tree/bin/hello <<'END'
#!/bin/sh
echo "$1 is ready"
echo "$1" >/mine
sync
END
chmod +x tree/bin/hello
truncate -s 16M base.raw
mkfs.ext4 -qF -d tree base.raw
qemu-img convert -O qcow2 base.raw base.qcow2

# left NAME: no device of it, a moment later, and what it wrote is in its overlay.
left() {
	local tries
	for ((tries = 0; tries < 100; tries++)); do
		dmsetup info "$1" >/dev/null 2>&1 || break
		sleep 0.1
	done
	! dmsetup info "$1" >/dev/null 2>&1 || fail "$1: the device is still there"
	clean "$1.qcow2"
	mkdir -p look
	mount -t qcow2 -o "ro,noload,backing=qcow2:$DIR/base.qcow2" "$DIR/$1.qcow2" look || fail "$1: cannot be mounted"
	[ "$(<look/mine)" = "$1" ] || fail "$1: $(<look/mine)"
	umount look
}
# shellcheck source=tests/kselftest/dm-qcow2/boot.sh
. "$HERE/boot.sh"

containerd --root "$DIR/cd" --state /run/cd --address /run/cd.sock >cd.log 2>&1 &
daemon=$!
for ((tries = 0; tries < 600; tries++)); do
	[ ! -S /run/cd.sock ] || break
	sleep 0.1
done
qcow2ctl clone base.qcow2 ct102.qcow2 ct102 >/dev/null
mkdir rootfs
mount /dev/mapper/ct102 rootfs
qcow2ctl detach -q --deferred ct102
ctr -a /run/cd.sock run --rm --rootfs "$DIR/rootfs" ct102 /bin/hello ct102 >said 2>&1 || fail "ctr: $(<said) $(tail -5 cd.log)"
grep -qx "ct102 is ready" said || fail "ctr: $(<said)"
umount rootfs
left ct102
kill $daemon
wait $daemon || true
ok "containerd $(containerd --version | cut -d ' ' -f 3)"

mkdir -p lxc/ct103
cat >attach <<END
#!/bin/bash
exec qcow2ctl attach --backing $DIR/base.qcow2,format=qcow2 $DIR/ct103.qcow2 ct103
END
cat >detach <<'END'
#!/bin/bash
exec qcow2ctl detach --wait 10 ct103
END
chmod +x attach detach
cat >lxc/ct103/config <<END
lxc.uts.name = ct103
lxc.rootfs.path = lvm:/dev/mapper/ct103
lxc.init.cmd = /bin/hello ct103
lxc.net.0.type = empty
lxc.apparmor.profile = unconfined
lxc.hook.pre-start = $DIR/attach
lxc.hook.post-stop = $DIR/detach
END
qcow2ctl create --backing base.qcow2,format=qcow2 ct103.qcow2
lxc-start -P "$DIR/lxc" -n ct103 -F -o lxc.log -l INFO >said 2>&1 || fail "lxc-start: $(<said) $(tail -30 lxc.log)"
grep -q 'Started "/bin/hello"' lxc.log || fail "lxc-start: $(<said) $(tail -30 lxc.log)"	# it has no terminal to say it on
left ct103
umount /sys/fs/cgroup 2>/dev/null || true
ok "LXC $(lxc-start --version)"
