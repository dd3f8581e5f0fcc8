#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# snapshot create --external of a mounted device: the old image does not change any more. Who opens or resumes the device
# just then is seen.
# timeout=150
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
mounted 64M
echo first >/mnt/guest/mark
pauses snapshot create --external b.qcow2 q
[ "$(dmsetup table q)" = "0 131072 qcow2 2 qcow2 $DIR/b.qcow2 qcow2 $DIR/a.qcow2" ] || fail "$(dmsetup table q)"
holds a.qcow2 "$RO 300"
holds b.qcow2 "$RW 300"
md5sum a.qcow2 >sum
echo second >/mnt/guest/mark
answers 4 "b.qcow2.*exist" snapshot create --external b.qcow2 q
pauses snapshot create --external c.qcow2 /dev/mapper/q
pauses snapshot create q inside
answers 5 "in use by device q" snapshot create --external d.qcow2 ./b.qcow2
ok "two overlays"
stop_writer
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
pauses map q
pauses check q
pauses resize q +8M
device_io q 'read -P 0 64M 8M'
detach q
want "the old image has changed" md5sum -c --quiet sum
for image in a b c; do
	clean $image.qcow2
done
qemu-img convert -O raw a.qcow2 a.raw
want "the snapshot is not clean" e2fsck -fn a.raw >/dev/null 2>&1
want "its content" [ "$(debugfs -R "cat /mark" a.raw 2>/dev/null)" = first ]
ok "the old image"

# What is looked at once more when the device is suspended: who has it open, and whether it is suspended still.
STEP=$(command -v edit_step.so) || fail "edit_step.so is not built"
create r.qcow2 16M
does snapshot create ./r.qcow2 s1
attach q r.qcow2
# late CODE SENTENCE WORD...: what was stopped goes on.
late() {
	local rc=0
	kill -CONT $TOOL
	wait $TOOL || rc=$?
	[[ "$rc $(<said)" == "$1 "*"$2"* ]] || fail "exit $rc, not $1 and '$2': $(<said)"
}
stopped suspend snapshot apply q s1
exec {fd}</dev/mapper/q
late 5 "device is in use: open in "
exec {fd}<&-
runs q
stopped suspend snapshot create q s2
dmsetup resume q
late 5 "somebody else resumed it meanwhile"
runs q
# Who holds a lock is found by paths, which may lead to the device: it runs by then.
stopped suspend snapshot delete q s1
hold r.qcow2 r301
strace -q -o calls -e trace=openat,statx,newfstatat,ioctl -p $TOOL &
tracer=$!
until grep -q "^TracerPid:[[:blank:]]*[1-9]" /proc/$TOOL/status; do sleep 0.05; done
late 5 "a view of a snapshot is attached"
wait $tracer || true
let_go
want "not resumed: $(<calls)" grep -q DM_DEV_SUSPEND calls
while read -r line && [[ $line != *DM_DEV_SUSPEND* ]]; do
	[[ $line != @(openat|statx|newfstatat)*'"/'* || $line == *'"/'@(sys|dev/mapper|dev/kmsg)* ]] || fail "a path while it is suspended: $line"
done <calls
runs q
detach q
want "snapshots" [ "$("$QCOW2CTL" snapshot list ./r.qcow2 | grep -c s2)" = 0 ]
want "snapshots" [ "$("$QCOW2CTL" snapshot list ./r.qcow2 | grep -c s1)" = 1 ]
clean r.qcow2
ok "opened or resumed meanwhile"
