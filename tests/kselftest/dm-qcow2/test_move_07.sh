#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Layer clone whose state is elsewhere, and the machine goes down: a note says which files the disk is made of. A move by
# dm-clone under a writer; who has moved it is killed. A kernel without dm-clone: no.
# series=debug

# shellcheck source=tests/kselftest/dm-qcow2/move.sh
. "$(dirname "$0")/move.sh"

scratch ext4
create k.qcow2 16M
does attach k.qcow2 q
if ! modprobe dm-clone 2>/dev/null; then
	answers 9 "kernel has no target clone" interpose q clone --to l.raw --state elsewhere
	want "a note of nothing" [ ! -e k.qcow2.q.clone ]
	does detach q
	ok "no dm-clone"
	exit 0
fi
modprobe dm-zero
touch k.qcow2.q.clone h.raw
answers 4 "k.qcow2.q.clone: .*exists already" interpose q clone --to l.raw --state elsewhere
want "a file of somebody else" [ -e k.qcow2.q.clone ]
want "what was not made" [ ! -e elsewhere ]
rm k.qcow2.q.clone
answers 4 "it exists already" interpose q clone --to h.raw --state elsewhere
want "a note of nothing" [ ! -e k.qcow2.q.clone ]
device_io q 'write -P 7 1M 2M'
does interpose q clone --to l.raw --state elsewhere
[[ $(<k.qcow2.q.clone) == *"disk of q from $DIR/k.qcow2 to $DIR/l.raw;"*"$DIR/elsewhere says"* ]] || fail "$(<k.qcow2.q.clone)"
dmsetup suspend q
for name in q q.real; do dmsetup remove --retry "$name"; done
answers 4 "dm-clone was moving it, as $DIR/k.qcow2.q.clone knows" attach k.qcow2 q
does attach --read-only k.qcow2 q
answers 0 "part of its disk may be where that brought it.*keep both, and $DIR/k.qcow2.q.clone" recover
does detach q
ok "half copied"

rm k.qcow2.q.clone elsewhere
does attach k.qcow2 q
does interpose q clone --to m.raw --state elsewhere
for ((try = 0; try < 100; try++)); do
	rc=0
	OUT=$("$QCOW2CTL" interpose q --remove 2>&1) || rc=$?
	[ "$rc" = 5 ] || break
	sleep 0.1
done
[ "$rc" = 0 ] || fail "exit $rc: $OUT"
want "the note is left" [ ! -e k.qcow2.q.clone ]
want "its state is gone" [ -e elsewhere ]
device_io q 'read -P 7 1M 2M'
does detach q
ok "all copied"

KILLED=move
begun 16M
remember
does move q b.qcow2 --via clone
moved b.qcow2
stale a.qcow2 b.qcow2
killed resume:4! c.qcow2 --via clone
moved c.qcow2
stale b.qcow2 c.qcow2
stop_writer
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
does detach q
clean c.qcow2
ok "moves"
