#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Moves that do not come to their end: refused, interrupted, onto what fails, is full or too small; a view meanwhile.
# timeout=150
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/move.sh
. "$(dirname "$0")/move.sh"

need_module dm-mirror
scratch ext4
begun 16M
does snapshot create q s1
share=/sys/module/dm_mirror/parameters/raid1_resync_throttle

touch exists
truncate -s 12M small.raw
loop small.raw
small=$LOOP
remember
answers 3 "no such qcow2 device" move nobody b.qcow2
answers 4 "it exists already" move q exists
answers 4 "it exists already" move q a.qcow2
answers 3 "No such file" move q /no/such/folder/b.qcow2
answers 4 "lies on it" move q /mnt/guest/b.qcow2
answers 5 "busy" move q /dev/mapper/q
modprobe dm-clone 2>/dev/null || answers 9 "kernel has no target clone" move q b.qcow2 --via clone
answers 8 "device has 12582912 bytes, 17[0-9]* are needed" move q "$small"
answers 8 "device has 12582912 bytes, 16777216 are needed" move q "$small" --format raw
does create "$small" 1M
answers 4 "device holds something: qcow2 image" move q "$small"
does check "$small"
put_in linear linear
answers 5 "layer linear stands over its image" move q b.qcow2
taken_out
does attach --snapshot s1 a.qcow2 view
dmsetup rename view q.frozen
answers 5 "a device q.frozen exists" move q b.qcow2
dmsetup remove q.frozen
mkdir a.qcow2.q.intent
answers 1 "cannot write down what is about to happen" move q b.qcow2
rmdir a.qcow2.q.intent
want "b.qcow2 is there" [ ! -e b.qcow2 ]
ok "refused"

for signal in INT TERM; do
	slowly b.qcow2 --bwlimit 1M
	answers 5 "another qcow2ctl is at work" snapshot create q s2
	answers 5 "at work|stands over" detach q
	answers 6 "locked by another process" attach b.qcow2 other
	kill -$signal "$MOVE"
	rc=0
	wait "$MOVE" || rc=$?
	[[ $rc = 1 && $(<said) == *"interrupted ($signal)"* ]] || fail "exit $rc: $(<said)"
	as_before
	alone
	want "b.qcow2 is there" [ ! -e b.qcow2 ]
	want "the share of mirrors is $(<$share)" [ "$(<$share)" = 100 ]
done
slowly b.raw --format raw --bwlimit 1M
kill -KILL "$MOVE"
wait "$MOVE" || true
settled
as_before
want "b.raw is there" [ ! -e b.raw ]
want "the share of mirrors is $(<$share)" [ "$(<$share)" = 100 ]
ok "interrupted"

printf '32768 0 rw\n1 qcow2 %s\n\nanother-boot\n%s\n%s\n\n' "$DIR/a.qcow2" "$DIR/b.qcow2" "$DIR/a.qcow2" >a.qcow2.q.intent
does recover q
[[ $OUT == *"went down while it moved to $DIR/b.qcow2"* ]] || fail "$OUT"
as_before
# By dm-clone: the file that says what is where stays, and so does what says so; also when the device was removed.
create c.qcow2 1M
touch d.qcow2.clone
printf '2048 0 rw\n1 qcow2 %s\n%s\nanother-boot\n%s\n%s\nqcow2 1 qcow2 %s\n\nold\n' \
	"$DIR/c.qcow2" "$DIR/c.qcow2.half.intent" "$DIR/d.qcow2" "$DIR/c.qcow2" "$DIR/d.qcow2" >c.qcow2.half.intent
cp c.qcow2.half.intent /run/qcow2ctl/half.intent
does recover half
want "an intent" [ ! -e /run/qcow2ctl/half.intent ]
answers 4 "dm-clone was moving it, as $DIR/d.qcow2.clone knows" attach c.qcow2 half
does attach --read-only c.qcow2 half
made half
does recover half
[[ $OUT == *"while dm-clone moved it"*"$DIR/d.qcow2.clone, which says"* ]] || fail "$OUT"
want "a file is gone" [ -e d.qcow2.clone ]
mv c.qcow2.half.intent c.qcow2.half.clone
does recover half
[[ $OUT == *"warning: it has no layer clone any more"*"keep both, and $DIR/c.qcow2.half.clone"* ]] || fail "$OUT"
does detach half
answers 4 "as $DIR/c.qcow2.half.clone knows" attach c.qcow2 half
rm c.qcow2 c.qcow2.half.clone d.qcow2.clone
ok "half moved by dm-clone"

# What others could have written beside an image counts for nothing, nor does what is about another one.
create victim.qcow2 1M
create c.qcow2 1M
sum=$(md5sum victim.qcow2)
# left OWNER MODE IMAGE: what a machine would have left that went down when that image had moved.
left() {
	rm -f c.qcow2.other.intent
	printf '2048 0 rw\n1 qcow2 %s\n\nanother-boot\n%s\n%s\n\n\nnew\n' "$DIR/c.qcow2" "$DIR/b.qcow2" "$DIR/$3" >c.qcow2.other.intent
	chown "$1" c.qcow2.other.intent
	chmod "$2" c.qcow2.other.intent
}
for words in "nobody 600 victim.qcow2" "nobody 600 c.qcow2" "root 622 c.qcow2" "root 600 victim.qcow2"; do
	# shellcheck disable=SC2086 # words
	left $words
	does attach c.qcow2 other
	does recover other
	[[ $OUT != *"went down"* ]] || fail "$words: $OUT"
	does detach other
	[ "$(md5sum victim.qcow2)" = "$sum" ] || fail "$words: another image was written to"
done
left root 600 c.qcow2
answers 4 "stale, its disk has moved to $DIR/b.qcow2" attach c.qcow2 other
ok "what a machine that went down has left"

ramdisk 1 20
for format in raw qcow2; do
	dmsetup create bad --table "0 40960 linear /dev/ram1 0"
	made bad
	slowly /dev/mapper/bad --format $format --bwlimit 4M
	dmsetup suspend bad
	dmsetup load bad --table "0 40960 error"
	dmsetup resume bad
	rc=0
	wait "$MOVE" || rc=$?
	[[ $rc = 1 && $(<said) == *"where it was to move to cannot be written"* ]] || fail "exit $rc: $(<said)"
	dmsetup remove --retry bad
	as_before
	ramdisk 1 20
done
mkdir -p full
mount -t tmpfs -o size=8m tmpfs full
MOUNTS+=("$DIR/full")
answers 8 "no space is left" move q full/b.qcow2
as_before
answers 1 "cannot be written" move q full/b.raw --format raw
as_before
want "a file is left" [ -z "$(ls full)" ]
umount full
ok "onto what fails"

slowly b.qcow2 --bwlimit 4M
does attach --snapshot s1 a.qcow2 view
made view
first=$(md5sum </dev/mapper/view)
wait "$MOVE" || fail "exit $?: $(<said)"
[[ $(<said) == *"a.qcow2: warning: it could not be marked"* ]] || fail "$(<said)"
want "the view has changed" [ "$(md5sum </dev/mapper/view)" = "$first" ]
moved b.qcow2
does detach view
stop_writer
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
does detach q
clean a.qcow2
clean b.qcow2
ok "a view meanwhile"
