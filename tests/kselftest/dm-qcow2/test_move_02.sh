#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A move is killed at each of its steps, then together with its guardian; each step fails, and meets SIGINT: the old
# image, or the new one.
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/move.sh
. "$(dirname "$0")/move.sh"

need_module dm-mirror
KILLED=move
scratch ext4
begun 16M
remember

# Image made, parts made and loaded, mirror loaded; q suspended, image handed over, parts resumed; renamed, new table
# loaded; suspended, copy suspended, handed over.
steps=(link create load resume create:2 load:2 load:3 suspend message resume:2 resume:3 name name:2 load:4
	suspend:2 suspend:3 message:2)
for step in "${steps[@]}"; do
	killed "$step" b.qcow2
	want "$step: b.qcow2 is there" [ ! -e b.qcow2 ]
	alone
	as_before
done
ok "the tool is killed"

for step in link load resume load:3 suspend message resume:2 resume:3 name name:2 load:4 suspend:2 message:2; do
	killed "$step!" b.qcow2
	want "$step: b.qcow2 is there" [ ! -e b.qcow2 ]
	alone
	as_before
done
ok "the guardian is killed, too"

killed resume:4 b.qcow2
moved b.qcow2
stale a.qcow2 b.qcow2
killed resume:4! c.qcow2
moved c.qcow2
stale b.qcow2 c.qcow2
killed remove d.qcow2
moved d.qcow2
stale c.qcow2 d.qcow2
ok "killed when it was there"

for step in fork link create load resume load:2 load:3 suspend message resume:2 resume:3 name name:2 load:4 suspend:2 \
	suspend:3 message:2 resume:4; do
	rc=0
	disturbed $step -5 move q e.qcow2 || rc=$?
	[ $rc = 1 ] || fail "$step: exit $rc: $OUT"
	moved d.qcow2
	want "$step: e.qcow2 is there" [ ! -e e.qcow2 ]
done
ok "each step fails"

# When all is copied it is too late for that.
at=d.qcow2
for step in fork link create load resume load:2 load:3 suspend message resume:2 resume:3 name name:2 load:4 suspend:2 \
	suspend:3 message:2 resume:4; do
	rc=0 new=${step/:/}.qcow2
	disturbed $step 2 move q "$new" || rc=$?
	if [ $rc = 0 ] && [[ $step =~ ^(name.*|load:4|suspend:.|message:2|resume:4)$ ]]; then
		moved "$new"
		stale "$at" "$new"
		at=$new
		continue
	fi
	[[ $rc = 1 && $OUT == *"interrupted (INT)"* ]] || fail "SIGINT at $step: exit $rc: $OUT"
	moved "$at"
	want "SIGINT at $step: $new is there" [ ! -e "$new" ]
done
ok "SIGINT at each step"

arrange() {
	new=${at%.*}n.qcow2
	COMMAND=(move q "$new")
}
# On the new image, or on the old one.
judge() {
	alone
	if [[ $(dmsetup table q) = *" $DIR/$new" ]]; then
		stale "$at" "$new"
		rm "$at"
		at=$new
	else
		moved "$at"
		want "$1: $new is there" [ ! -e "$new" ]
	fi
}
killed_anywhere 6
ok "killed anywhere"
stop_writer
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
does detach q
clean "$at"
ok "image and data"
