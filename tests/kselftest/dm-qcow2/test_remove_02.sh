#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# remove_all and wipe_table by an administrator: of a device with a layer, and in the middle of an edit. The image is let go, and
# nothing of an edit is left.
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/move.sh
. "$(dirname "$0")/move.sh"

STEP=$(command -v edit_step.so) || fail "edit_step.so is not built"
# nothing: neither a device nor a note, and the image is whole and free.
nothing() {
	local names
	names=$'\n'$(dmsetup ls)
	[[ $names != *$'\n'q* ]] || fail "$names"
	[ ! -e /run/qcow2ctl/q.intent ] || fail "an intent is left"
	clean a.qcow2
	does attach ./a.qcow2 q
	does detach q
}
# ended: what was stopped goes on; sets rc.
ended() {
	rc=0
	kill -CONT "$TOOL"
	wait "$TOOL" || rc=$?
}
scratch ext4
create a.qcow2 16M
does attach ./a.qcow2 q
does interpose q linear
dmsetup remove_all
nothing
ok "remove_all with a layer"

does attach ./a.qcow2 q
stopped suspend snapshot create q s1
dmsetup remove_all
ended
[ $rc = 0 ] || fail "exit $rc: $(<said)"
runs q
ok "remove_all in the middle of an edit: it is open"

stopped suspend snapshot create q s2
dmsetup wipe_table q
ended
say "exit $rc: $(<said)"
[ $rc != 0 ] || fail "nobody saw it"
want "the table came back" [ "$(dmsetup table q)" = "0 32768 error " ]
dmsetup remove --retry q
nothing
ok "wipe_table in the middle of an edit"

does attach ./a.qcow2 q
does interpose q linear
dmsetup wipe_table q
does interpose q --remove
runs q
[[ $(dmsetup table q) == *" qcow2 1 qcow2 $DIR/a.qcow2"* ]] || fail "its image is not back: $(dmsetup table q)"
does detach q
nothing
ok "wipe_table with a layer: its removal brings the image back"
