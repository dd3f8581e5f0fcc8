#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Moves by dm-clone: there is no way back, and whoever is killed, the device gets to the new image. A kernel without it: no.
# timeout=280
# series=7.x

# shellcheck source=tests/kselftest/dm-qcow2/move.sh
. "$(dirname "$0")/move.sh"

KILLED=move
STEP=$(command -v edit_step.so) || fail "edit_step.so is not built"
scratch ext4
begun 16M
remember
if ! modprobe dm-clone 2>/dev/null; then
	answers 9 "kernel has no target clone" move q b.qcow2 --via clone
	as_before
	want "b.qcow2 is there" [ ! -e b.qcow2 ]
	ok "no dm-clone"
	exit 0
fi
modprobe dm-zero

does move q b.qcow2 --via clone
[[ $OUT == *"paused q for "*"paused q for "* ]] || fail "no pauses: $OUT"
moved b.qcow2
stale a.qcow2 b.qcow2
want "a state is left" [ ! -e b.qcow2.clone ]
remember
ok "to another image"

for step in link load:2 loop load:3 suspend message resume:3; do
	killed "$step" c.qcow2 --via clone
	as_before
	want "$step: c.qcow2 is there" [ ! -e c.qcow2 ]
	want "$step: a state is there" [ ! -e c.qcow2.clone ]
done
for step in create load:3 suspend message resume:3 resume:4; do
	rc=0
	disturbed $step -5 move q c.qcow2 --via clone || rc=$?
	[ "$rc" = 1 ] || fail "$step: exit $rc: $OUT"
	as_before
	alone
	want "$step: c.qcow2 is there" [ ! -e c.qcow2 ]
	want "$step: a state is there" [ ! -e c.qcow2.clone ]
done
rc=0
disturbed create 2 move q c.qcow2 --via clone || rc=$?
[[ $rc = 1 && $OUT == *interrupted* ]] || fail "interrupted: exit $rc: $OUT"
as_before
alone
want "interrupted: c.qcow2 is there" [ ! -e c.qcow2 ]
ok "old before the layer is there"

killed resume:4 c.qcow2 --via clone
moved c.qcow2
stale b.qcow2 c.qcow2
killed resume:4! d.qcow2 --via clone
moved d.qcow2
stale c.qcow2 d.qcow2
slowly e.qcow2 --via clone --bwlimit 2M
kill -INT "$MOVE"
wait "$MOVE" || fail "exit $?: $(<said)"
moved e.qcow2
slowly f.qcow2 --via clone --bwlimit 2M
kill -KILL "$MOVE"
wait "$MOVE" || true
settled
moved f.qcow2
stale e.qcow2 f.qcow2
# The new image does not come to life at once, since somebody is at it: nobody goes back.
stopped suspend:3 move q k.qcow2 --via clone
hold k.qcow2 w300
kill -CONT "$TOOL"
sleep 7
[[ $(dmsetup table q) == *"$DIR/k.qcow2"* && -e k.qcow2 ]] || fail "back: $(dmsetup table q): $(<said)"
let_go
wait "$TOOL" || true
settled
moved k.qcow2
ok "new afterwards"

does move q g.raw --via clone --format raw
alone
[[ $(dmsetup table q) == *" linear "* ]] || fail "$(dmsetup table q)"
stop_writer
sync -f /mnt/guest
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
want "g.raw is another one" cmp /dev/mapper/q g.raw
does detach q
for image in *.qcow2; do
	clean "$image"
done
want "states are left" [ -z "$(compgen -G '*.clone')" ]
ok "image and data"

create i.qcow2 16M
does attach i.qcow2 q
device_io q 'write -P 7 1M 2M'
answers 2 "needs --to" interpose q clone
answers 4 "it exists already" interpose q clone --to g.raw
put_in clone clone --to h.raw
want "its state" [ -f i.qcow2.q.clone ]
device_io q 'write -P 8 2M 1M'
# The image is not the disk any more.
for words in "snapshot create q s1" "map q" "changes q --since s0" "backup q --to j.qcow2"; do
	# shellcheck disable=SC2086 # words
	answers 5 "layer clone moves its disk away" $words
done
answers 1 "layer clone moves its disk away" check q
want "j.qcow2 is there" [ ! -e j.qcow2 ]
stands clone
for ((try = 0; try < 100; try++)); do
	rc=0
	OUT=$("$QCOW2CTL" interpose q --remove 2>&1) || rc=$?
	[ "$rc" = 5 ] || break
	[[ $OUT == *"regions are copied"* && $(dmsetup table q) == *" clone "* ]] || fail "$OUT"
	sleep 0.1
done
[ "$rc" = 0 ] || fail "exit $rc: $OUT"
alone
[[ $(dmsetup table q) == *" linear "* ]] || fail "$(dmsetup table q)"
device_io q 'read -P 7 1M 1M' 'read -P 8 2M 1M' 'read -P 0 3M 13M'
want "its state is left" [ ! -e i.qcow2.q.clone ]
does detach q
stale i.qcow2 h.raw
ok "the layer"

# What of the old image cannot be read is never copied: nobody waits for ever, and nothing is lost.
made bad
head -c 4M /dev/zero | tr '\0' '\5' >base.raw
BASE=$(losetup -f --show base.raw)
dmsetup create bad --table "0 4096 linear $BASE 0
4096 8 error
4104 4088 linear $BASE 4104"
create -u -b /dev/mapper/bad -F raw o.qcow2 16M
does attach --chain=follow --allow-under /dev o.qcow2 q
device_io q 'write -P 9 8M 1M'
answers 1 "dm-clone cannot copy all of the old image" move q p.qcow2 --via clone
[[ $OUT == *"hint: qcow2ctl recover q"* && $(dmsetup table q) == *" clone "* ]] || fail "not all: $OUT"
device_io q 'write -P 6 9M 1M' 'read -P 5 0 2M'
answers 5 "its move by dm-clone is not at its end" interpose q --remove
want "no intent" [ -e /run/qcow2ctl/q.intent ]
dmsetup load bad --table "0 8192 linear $BASE 0"
dmsetup resume bad
does recover q
moved p.qcow2
device_io q 'read -P 5 0 4M' 'read -P 9 8M 1M' 'read -P 6 9M 1M' 'read -P 0 10M 6M'
does detach q
answers 4 "stale, its disk has moved to $DIR/p.qcow2" attach --backing /dev/mapper/bad,format=raw o.qcow2 other
clean p.qcow2
dmsetup remove bad
losetup -d "$BASE"
ok "a part that cannot be read"
