#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The power goes during a backup and during a move: what was durable is in the image that counts then, and the
# tool says which that is.
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/move.sh
. "$(dirname "$0")/move.sh"

need_module dm-mirror
need_module dm-snapshot
MIB=64
PLACE=/mnt/disk
made disk
scratch ext4 500
ramdisk 1 $MIB
dmsetup create disk --table "0 $((MIB * 2048)) linear /dev/ram1 0"
mkfs.ext4 -q -F /dev/mapper/disk
mkdir -p $PLACE
mount /dev/mapper/disk $PLACE
MOUNTS+=("$PLACE")
create $PLACE/a.qcow2 16M
# There is something to copy, apart from what is written meanwhile.
io $PLACE/a.qcow2 'write -P 1 8M 8M'
sync
BOOT=$DIR/boot_id
cp /proc/sys/kernel/random/boot_id "$BOOT"
mount --bind "$BOOT" /proc/sys/kernel/random/boot_id
MOUNTS+=(/proc/sys/kernel/random/boot_id)

# used: q has a writer.
used() {
	local try
	does attach $PLACE/a.qcow2 q
	rm -f journal
	python3 "$HERE/power_writer.py" write /dev/mapper/q journal &
	WRITER=$!
	for ((try = 0; try < 400; try++)); do
		[ ! -e journal ] || return 0
		sleep 0.05
	done
	fail "nothing is written"
}

# cut PROCESS: the power goes now; that process, and all that is in memory, with it. The machine comes up.
cut() {
	local try
	cp journal durable
	dmsetup suspend --noflush --nolockfs disk
	dd if=/dev/ram1 of=cut bs=1M count=$MIB iflag=direct conv=sparse status=none
	dmsetup resume disk
	kill -KILL $WRITER "$1"
	wait $WRITER "$1" 2>/dev/null || true
	WRITER=
	settled
	does recover
	gone q || does detach q
	# A loop device goes a moment after its last user.
	for ((try = 0; try < 50; try++)); do
		umount $PLACE 2>/dev/null && break
		sleep 0.1
	done
	rm -rf /run/qcow2ctl
	cat /proc/sys/kernel/random/uuid >"$BOOT"
	dd if=cut of=/dev/ram1 bs=1M oflag=direct status=none
	rm cut
	mount /dev/mapper/disk $PLACE
}

# there IMAGE: it has all that was durable.
there() {
	does attach "$PLACE/$1" q
	python3 "$HERE/power_writer.py" check /dev/mapper/q durable || fail "$1: something durable is lost"
}

# over IMAGE: no errors; the loss of power may leave leaks.
over() {
	local rc=0
	does detach q
	qemu-img check -q "$PLACE/$1" &>/dev/null || rc=$?
	[[ $rc == [03] ]] || fail "$1: qemu-img check: exit $rc"
	does repair "$PLACE/$1"
	clean "$PLACE/$1"
}

# backup VIA: begins, and copies.
backup() {
	local try
	: >log
	"$QCOW2CTL" backup q --to $PLACE/full.qcow2 --via "$1" --bwlimit 1M --progress=json 2>log &
	BACKUP=$!
	for ((try = 0; try < 200; try++)); do
		[[ ! $(<log) =~ '"copying"' ]] || return 0
		sleep 0.05
	done
	fail "nothing is copied: $(<log)"
}

for via in view ${QCOW2_FULL:+snapshot}; do
	used
	backup "$via"
	sleep 0.3
	cut $BACKUP
	want "$via: a result" [ ! -e $PLACE/full.qcow2 ]
	there a.qcow2
	does recover q
	if [ "$via" = view ]; then
		[[ $OUT == *"q: what was left of a backup is gone"* ]] || fail "$via: $OUT"
	else
		[[ $OUT == *"$PLACE/a.qcow2.q.snapshot is of no use now"* ]] || fail "$via: $OUT"
		rm $PLACE/a.qcow2.q.snapshot
	fi
	does snapshot list q
	[[ $OUT != *qcow2ctl-backup* ]] || fail "$via: a snapshot is left"
	over a.qcow2
	ok "during a backup by $via"
done

used
slowly $PLACE/b.qcow2 --bwlimit 2M
sleep 1
cut $MOVE
there a.qcow2
does recover q
[[ $OUT == *"went down while it moved to $PLACE/b.qcow2; the old image $PLACE/a.qcow2 counts"* ]] || fail "$OUT"
does recover
[ -z "$OUT" ] || fail "$OUT"
over a.qcow2
rm $PLACE/b.qcow2
ok "during a move"

used
step=$(command -v edit_step.so)
LD_PRELOAD=$step EDIT_AT=resume:4 EDIT_DO=19 "$QCOW2CTL" move q $PLACE/b.qcow2 2>said &
MOVE=$!
for ((try = 0; try < 400; try++)); do
	[[ $(dmsetup table q) != *b.qcow2* ]] || break
	sleep 0.05
done
sleep 0.5
cut $MOVE
answers 4 "stale, its disk has moved to $PLACE/b.qcow2" attach $PLACE/a.qcow2 q
answers 4 "stale, its disk has moved to $PLACE/b.qcow2" attach $PLACE/a.qcow2 other
there b.qcow2
does recover
[ -z "$OUT" ] || fail "$OUT"
over b.qcow2
ok "when it had moved, and nothing said so yet"
