#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Containers of runc, each on a clone of one base image: what one costs, who is told when its device is to go, and that
# nothing is left of them when runtime and container are killed, or the runtime in the middle.
# tests/boot runs it, in a machine that counts instructions.
# series=virtual
# timeout=200

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"
[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
command -v runc >/dev/null || skip "no runc"
scratch ext4 600
COUNT=5
if [ -n "${QCOW2_FULL:-}" ]; then
	# Each image has up to 16 MiB more than it needs, until its device is gone.
	COUNT=50
	mkfs.ext4 -qF "${VM_DISKS%% *}"
	mount "${VM_DISKS%% *}" "$DIR"
	MOUNTS+=("$DIR")
	cd "$DIR"
fi
mountpoint -q /sys/fs/cgroup || { mount -t cgroup2 cgroup2 /sys/fs/cgroup && MOUNTS+=(/sys/fs/cgroup); }

# The base: a busybox.
mkdir -p tree/{bin,dev,proc,sys,tmp}
cp "$(command -v busybox)" tree/bin/
for name in sh sleep sync; do ln -s busybox tree/bin/$name; done
truncate -s 16M base.raw
mkfs.ext4 -qF -d tree base.raw
qemu-img convert -O qcow2 base.raw base.qcow2
sums=$(md5sum base.qcow2)

# The bundle of a container: what it starts as, from where.
mkdir -p bundle
(cd bundle && runc spec)
python3 - <<'END'
import json
spec = json.load(open("bundle/config.json"))
spec["process"].update(terminal=False, args=["/bin/sh", "-c", "echo $HOSTNAME >/mine; sync; echo ready; exec sleep 1000"])
spec["root"].update(path="rootfs", readonly=False)
json.dump(spec, open("bundle/config.json", "w"))
END

# What a runtime does: the root file system in a mount namespace that only it and its container have.
cat >runtime <<'END'
#!/bin/bash
# runtime NAME: a clone, mounted; then it becomes runc.
set -e
mkdir -p "$1/rootfs"
sed "s/\"hostname\": *\"[^\"]*\"/\"hostname\": \"$1\"/" bundle/config.json >"$1/config.json"
qcow2ctl clone base.qcow2 "$1.qcow2" "$1" >/dev/null
mount "/dev/mapper/$1" "$1/rootfs"
qcow2ctl detach -q --deferred "$1"
exec runc run -b "$1" "$1"
END
chmod +x runtime
start() {
	mkdir -p "$1"
	unshare --mount --propagation private ./runtime "$1" >"$1/log" 2>&1 &
}
# ready NAME PID: the container is up, or its runtime has gone. A clock that counts instructions does not know how long a disk takes.
ready() {
	until grep -qsx ready "$1/log"; do
		kill -0 "$2" 2>/dev/null || fail "$1 does not come up: $(<"$1/log")"
		sleep 0.1
	done
}
# cost PID: sets COST to the milliseconds of processor time of a process, from its start on and with its children.
cost() {
	local stat
	read -ra stat <"/proc/$1/stat"
	COST=$(((stat[13] + stat[14] + stat[15] + stat[16]) * 1000 / $(getconf CLK_TCK)))
}

# All names of device mapper.
devices() { cat /sys/block/dm-*/dm/name 2>/dev/null || true; }

names=()
total=0
for ((i = 1; i <= COUNT; i++)); do
	names+=("ct$i")
	start "ct$i"
	ready "ct$i" $!
	cost $!
	[ -z "${VM_ICOUNT:-}" ] || [ $COST -lt 1000 ] || fail "ct$i needed $COST ms of processor time"
	total=$((total + COST))
done
# Where other work takes the processors away from the machine, what its kernel counts says nothing.
say "$((total / COUNT)) ms of processor time from nothing to a container that is ready, runc and all"
[ "$(runc list -q | wc -l)" = "$COUNT" ] || fail "runc has not all: $(runc list)"
[ "$(devices | wc -l)" = "$COUNT" ] || fail "devices: $(devices)"
! grep -q "/dev/mapper/ct" /proc/mounts || fail "a mount of a container is in our namespace"
ok "$COUNT containers${VM_ICOUNT:+, each below 1 s of processor time}"

pid=$(runc state ct2 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
rc=0
"$QCOW2CTL" detach ct2 2>said || rc=$?
[ $rc = 5 ] || fail "detach of a container's device: exit $rc"
[[ $(<said) == *"mounted on $DIR/ct2/rootfs (mount namespace of pid "* ]] || fail "the mount of the runtime: $(<said)"
inner=$(sed -n 's/.*mounted on \/ (mount namespace of pid \([0-9]*\)).*/\1/p' said)
[[ -n $inner && $(readlink "/proc/$inner/ns/mnt") == "$(readlink "/proc/$pid/ns/mnt")" ]] ||
	fail "the mount of the container, pid $pid, $(ls -l "/proc/$pid/ns/mnt" "/proc/$inner/ns/mnt" 2>&1): $(<said)"
list=$("$QCOW2CTL" list)
[ "$(grep -c "^ct[0-9]* " <<<"$list")" = "$COUNT" ] || fail "list: $list"
ok "detach tells of the mounts of the runtime and of the container"

# One ends by itself: its device goes with it.
runc kill ct1 KILL
for ((tries = 0; tries < 100; tries++)); do
	dmsetup info ct1 >/dev/null 2>&1 || break
	sleep 0.1
done
[ $tries -lt 100 ] || fail "the device outlives its container"
ok "the device goes with its container"

# All others, runtimes first.
pkill -9 -x runc || fail "no runtime was there"
for name in "${names[@]:1}"; do
	runc kill "$name" KILL 2>/dev/null || kill -9 "$(runc state "$name" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')" 2>/dev/null || true
done
for ((tries = 0; tries < 100; tries++)); do
	[ -n "$(devices)" ] || break
	sleep 0.1
done
"$QCOW2CTL" recover
want "nothing is left: $(devices)" [ -z "$(devices)" ]
want "nothing is left in /run: $(ls /run/qcow2ctl 2>&1)" [ -z "$(ls -A /run/qcow2ctl 2>/dev/null)" ]
wait
for name in "${names[@]}"; do
	clean "$name.qcow2"
	runc delete -f "$name" 2>/dev/null || true
done
want "the base was written" [ "$(md5sum base.qcow2)" = "$sums" ]
"$QCOW2CTL" attach --backing base.qcow2,format=qcow2 ct3.qcow2 again >/dev/null
mkdir -p look
mount /dev/mapper/again look
want "what a container has written: $(<look/mine)" [ "$(<look/mine)" = ct3 ]
umount look
"$QCOW2CTL" detach again
ok "SIGKILL of runtimes and containers leaves nothing"

# In the middle of its work.
for at in 0.05 0.1 0.15 0.2 0.3 0.4; do
	rm -f cut.qcow2
	setsid "$QCOW2CTL" clone base.qcow2 cut.qcow2 cut >/dev/null 2>&1 &
	victim=$!
	sleep $at
	kill -9 $victim 2>/dev/null || true
	wait $victim || true
	"$QCOW2CTL" recover 2>/dev/null
	if dmsetup info cut >/dev/null 2>&1; then
		[ -n "$(dmsetup table cut)" ] || fail "killed after $at s: a device without a table is left"
		[ -e cut.qcow2 ] || fail "killed after $at s: a device of an image that is not there"
		"$QCOW2CTL" detach cut
	fi
	[ ! -e cut.qcow2 ] || clean cut.qcow2
	[ -z "$(ls -A /run/qcow2ctl 2>/dev/null)" ] || fail "killed after $at s: left in /run: $(ls /run/qcow2ctl)"
done
rm -rf cut.qcow2
# As it is between two steps.
dmsetup create half --uuid QCOW2-1-half --notable
mkdir -p /run/qcow2ctl
: >/run/qcow2ctl/half.lock
"$QCOW2CTL" recover 2>said
want "it is said: $(<said)" grep -q "half: removed what an attach that was killed had left" said
! dmsetup info half >/dev/null 2>&1 || fail "a device without a table is left"
ok "a KILL in the middle of a clone leaves a device that works, or nothing"
