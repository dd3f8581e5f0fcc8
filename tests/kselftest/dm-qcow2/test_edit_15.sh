#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The deadline of an edit whose file system takes longer than that to be frozen: its pages are on their way to a slow disk. And
# file systems that somebody has frozen by himself: they stay so until he thaws them.

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
need_module dm-delay
truncate -s 64M slow.raw
loop slow.raw
create "$LOOP" 32M
# below MILLISECONDS: how long each write takes below the image.
below() {
	dmsetup suspend slow
	echo "0 131072 delay $LOOP 0 0 $LOOP 0 $1" | dmsetup load slow
	dmsetup resume slow
}
dmsetup create slow --table "0 131072 delay $LOOP 0 0 $LOOP 0 0"
made slow
attach q /dev/mapper/slow
mkfs.ext4 -q /dev/mapper/q
mkdir -p /mnt/guest
mount /dev/mapper/q /mnt/guest
MOUNTS+=(/mnt/guest)
below 300
head -c 1M /dev/urandom >/mnt/guest/file
sum=$(md5sum </mnt/guest/file)
start=$SECONDS rc=0
"$QCOW2CTL" snapshot create --timeout 3 q s1 >said 2>&1 || rc=$?
say "exit $rc after $((SECONDS - start)) s: $(<said)"
[[ "$rc $(<said)" == "5 "*"could not be suspended within 3 seconds"* ]] || fail "an edit that was late"
want "a snapshot is left" [ -z "$("$QCOW2CTL" snapshot list --json q | grep s1)" ]
runs q
below 0
want "the file system is frozen still" timeout 20 sh -c 'echo x >/mnt/guest/after; sync -f /mnt/guest/after'
ok "a file system that takes long"
want "what was on its way is lost" [ "$(md5sum </mnt/guest/file)" = "$sum" ]
pauses snapshot create q s2
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
detach q
clean /dev/mapper/slow
ok "clean"

for kind in ext4 xfs; do
	create $kind.qcow2 320M
	attach q $kind.qcow2
	mkfs.$kind -q /dev/mapper/q
	mount /dev/mapper/q /mnt/guest
	echo before >/mnt/guest/file
	fsfreeze -f /mnt/guest
	# A newer kernel freezes it once more, and then takes the device for frozen until it goes: see limits.rst.
	[[ $(uname -r) != 6.1.* ]] || answers 5 "is frozen by somebody else.*--nolockfs" snapshot create q s1
	pauses snapshot create --nolockfs q s1
	echo after >/mnt/guest/late &
	writer=$!
	sleep 1
	want "$kind is not frozen any more" kill -0 $writer
	fsfreeze -u /mnt/guest
	wait $writer || fail "$kind: the write was lost"
	umount /mnt/guest
	does snapshot apply q s1
	mount /dev/mapper/q /mnt/guest
	want "$kind: what was frozen" [ "$(</mnt/guest/file)" = before ]
	want "$kind: what came later" [ ! -e /mnt/guest/late ]
	umount /mnt/guest
	detach q
	clean $kind.qcow2
	ok "$kind, frozen by somebody"
done
