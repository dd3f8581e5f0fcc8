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
# each_step STATE STATE WORD...: some of the steps of `interpose q WORD...`, with QCOW2_FULL all, each by itself and with the
# guardian. The states are those before and after.
each_step() {
	local before=$1 after=$2 turn number steps last=8 killed=0 whom at rc
	shift 2
	EDIT_STEPS=$DIR/steps disturbed none kill interpose q "$@" || fail "$*: $OUT"
	want "$*: it is $(state)" [ "$(state)" = "$after" ]
	steps=$(wc -l <steps)
	[ -z "${QCOW2_FULL:-}" ] || last=$((2 * steps))
	for ((turn = 0; turn < last; turn++)); do
		number=$((turn * steps / last)) whom=kill rc=0
		[ $((turn % 2)) = 0 ] || whom=both
		if [ "$(state)" = "$after" ]; then
			if [ "$after" = there ]; then does interpose q --remove; else does interpose q snapshot; fi
		fi
		disturbed $number $whom interpose q "$@" || rc=$?
		# How often it asks at its end is not the same each time.
		[ $rc = 137 ] || [ $rc = 0 ] || fail "$*: step $number: exit $rc: $OUT"
		killed=$((killed + (rc == 137)))
		does recover
		for ((at = 0; at < 200; at++)); do
			[ -e /run/qcow2ctl/q.intent ] || break
			sleep 0.05
		done
		at=$(state)
		[ "$at" = "$before" ] || [ "$at" = "$after" ] || fail "$*: step $number, $whom: q is in between: $(dmsetup table)"
		if [ "$at" = gone ]; then
			as_before
		else
			stands snapshot-origin
		fi
	done
	say "$*: killed $killed times in $steps steps"
	want "$*: killed $killed times of $last" [ $((4 * killed)) -ge $((3 * last)) ]
}
each_step gone there snapshot
[ "$(state)" = there ] || does interpose q snapshot
each_step there gone --remove
[ "$(state)" = gone ] || does interpose q --remove
as_before
ok "layer snapshot"
over
ok "image and data"
