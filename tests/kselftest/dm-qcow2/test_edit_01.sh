#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every edit of a mounted device with a writer on it: the writer sees nothing of it, the image is clean.
# timeout=150
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"
# shellcheck source=tests/kselftest/dm-qcow2/without.sh
. "$HERE/without.sh"

without
scratch ext4
mounted 64M
echo first >/mnt/guest/mark
sync -f /mnt/guest
pauses snapshot create q first
echo second >/mnt/guest/mark
pauses snapshot create --nolockfs q second
does snapshot list q
[[ $OUT == *first* && $OUT == *second* ]] || fail "list: $OUT"
[[ $OUT != *paused* ]] || fail "a list pauses the device"
ok "snapshot create, list"

pauses check q
[[ $OUT == *errors*0* ]] || fail "check: $OUT"
pauses map --json q
pauses repair q
[[ $OUT == *"nothing to repair"* ]] || fail "repair: $OUT"
pauses snapshot create --dry-run q third
[[ $OUT == *header* ]] || fail "dry run: $OUT"
ok "check, map, repair, --dry-run"

pauses snapshot delete q second
pauses resize q +16M
want "the device has not grown" [ "$(blockdev --getsize64 /dev/mapper/q)" = $((80 << 20)) ]
want "resize2fs" resize2fs /dev/mapper/q 2>/dev/null
ok "delete, resize"
stop_writer
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1

# What --dry-run prints for the device, and for a copy of its image that nobody has attached.
dmsetup suspend q
cp --sparse=always a.qcow2 copy.qcow2
dmsetup resume q
for words in "snapshot create T third" "snapshot delete T first" "resize T +16M" "resize --shrink T 72M" "snapshot apply T first"; do
	# shellcheck disable=SC2086 # words
	"$QCOW2CTL" ${words/T/q --dry-run} 2>said >attached || fail "$words: $(<said)"
	# shellcheck disable=SC2086
	"$QCOW2CTL" ${words/T/.\/copy.qcow2 --dry-run} 2>said >offline || fail "$words, not attached: $(<said)"
	grep -q "header" attached || fail "$words: no plan: $(<attached)"
	diff offline attached || fail "another plan when attached: $words"
done
does snapshot list q
[[ $OUT == *first* && $OUT != *third* ]] || fail "a dry run has changed the list: $OUT"
want "a dry run has changed the size" [ "$(blockdev --getsize64 /dev/mapper/q)" = $((80 << 20)) ]
runs q
dmsetup suspend q
want "a dry run has changed the image" cmp a.qcow2 copy.qcow2
dmsetup resume q
ok "the plan of each edit is the same as for the image alone"

pauses resize --shrink --nolockfs q 96M
pauses resize --shrink q 88M
want "the device has not shrunk" [ "$(blockdev --getsize64 /dev/mapper/q)" = $((88 << 20)) ]
pauses snapshot apply q first
want "the snapshot's size" [ "$(blockdev --getsize64 /dev/mapper/q)" = $((64 << 20)) ]
mount /dev/mapper/q /mnt/guest
want "the snapshot's content" [ "$(cat /mnt/guest/mark)" = first ]
umount /mnt/guest
pauses resize --shrink q 56M
pauses snapshot apply q first
want "the size of a larger snapshot" [ "$(blockdev --getsize64 /dev/mapper/q)" = $((64 << 20)) ]
want "fsck of the snapshot" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
holds a.qcow2 "$RW 300"
detach q
clean a.qcow2
ok "resize --shrink, apply"
