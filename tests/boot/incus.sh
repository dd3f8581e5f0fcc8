#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: a container of Incus gets a qcow2 device as a disk. Incus comes from the folder INCUS_ROOT, a Debian of its own,
# which becomes the root of a mount namespace: what makes containers needs one that is a mount.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/../kselftest/dm-qcow2/lib.sh"
scratch ext4
mkdir up work root
mount -t overlay overlay -o "lowerdir=$INCUS_ROOT,upperdir=$DIR/up,workdir=$DIR/work" root
MOUNTS+=("$DIR/root")

# What a container is made of: a busybox.
mkdir -p image/rootfs/{bin,sbin,dev,proc,sys,tmp,etc}
cp "$(command -v busybox)" image/rootfs/bin/
for name in bin/sh bin/sleep bin/sync bin/grep bin/cat sbin/init; do ln -s /bin/busybox "image/rootfs/$name"; done
printf 'architecture: x86_64\ncreation_date: 1\nproperties:\n  description: busybox\n' >image/metadata.yaml
tar -C image -cf root/image.tar metadata.yaml rootfs
mkdir disk
echo "from the host" >disk/greeting
truncate -s 16M data.raw
mkfs.ext4 -qF -d disk data.raw
qemu-img convert -O qcow2 data.raw data.qcow2
"$QCOW2CTL" attach data.qcow2 data >/dev/null

cat >root/go <<'END'
set -e
umount -l /mnt
export HOME=/root PATH=/usr/libexec/incus:/usr/sbin:/usr/bin:/sbin:/bin
INCUS_SECURITY_APPARMOR=false incusd >/incusd.log 2>&1 &
incus admin waitready --timeout 100
incus storage create default dir
incus profile device add default root disk path=/ pool=default
incus image import -q /image.tar --alias busybox
incus init -q busybox ct102 -c security.privileged=true -c raw.lxc='lxc.init.cmd=/bin/sleep 1000'
incus config device add ct102 data disk source=/dev/mapper/data path=/srv/data
incus start ct102
incus exec ct102 -- /bin/sh -c 'grep " /srv/data ext4 " /proc/mounts && cat /srv/data/greeting && echo ct102 >/srv/data/mine && sync'
incus stop -f ct102
incus delete ct102
incus admin shutdown
wait
END
# shellcheck disable=SC2016
unshare --mount --propagation private bash -c '
	cd root && mount -t proc proc proc && mount --rbind /sys sys && mount -t cgroup2 cgroup2 sys/fs/cgroup &&
	mount --bind /dev dev && mount -t tmpfs run run && pivot_root . mnt && exec chroot . /bin/bash /go' >said 2>&1 ||
	fail "$(<said)" "$(tail -n 20 root/incusd.log)"
grep -qx "from the host" said || fail "what it reads: $(<said)"
"$QCOW2CTL" detach data
clean data.qcow2
qemu-img convert -O raw data.qcow2 data.raw
want "what it has written" [ "$(debugfs -R 'cat /mine' data.raw 2>/dev/null)" = ct102 ]
ok "Incus: a disk of a container"
