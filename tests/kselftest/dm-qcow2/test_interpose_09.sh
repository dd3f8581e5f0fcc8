#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Layer snapshot, which has a store and a point in time, is killed while it comes and while it goes: at steps that a recorded run has
# taken, alone or with the guardian.
# timeout=150
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

made q.frozen
need_module dm-snapshot
scratch ext4
remembered 32M
# state: "gone", or "there" with the point in time.
state() {
	local table names
	table=$(dmsetup table q) names=$'\n'$(dmsetup ls)
	case $table in
	*" qcow2 "*) echo gone ;;
	*" snapshot-origin "*) [[ $names != *$'\n'q.frozen$'\t'* ]] || echo there ;;
	esac
}
# arrange: as it is before `interpose q WORD`.
arrange() {
	COMMAND=(interpose q "$WORD")
	case $WORD,$(state) in
	snapshot,there) does interpose q --remove ;;
	--remove,gone) does interpose q snapshot ;;
	esac
}
judge() {
	does recover
	case $(state) in
	gone) as_before ;;
	there) stands snapshot-origin ;;
	*) fail "$1: q is in between: $(dmsetup table)" ;;
	esac
}
for WORD in snapshot --remove; do
	killed_anywhere 8
done
[ "$(state)" = gone ] || does interpose q --remove
as_before
ok "layer snapshot"
over
ok "image and data"
