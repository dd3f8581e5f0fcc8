# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# A qcow2ctl that fails or is killed at a step of its work, alone or with its guardian, and the device after that.

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/edit.sh"

# disturbed STEP WHAT COMMAND...: qcow2ctl with WHAT at a step, see edit_step.c; sets OUT, returns its exit code.
disturbed() {
	local step at=$1 what=$2
	shift 2
	step=$(command -v edit_step.so) || fail "edit_step.so is not built"
	OUT=$(LD_PRELOAD=$step EDIT_AT=$at EDIT_DO=$what "$QCOW2CTL" "$@" 2>&1)
}

# fails_at STEP COMMAND...: the step fails, and so does interpose.
fails_at() {
	local at=$1 rc=0
	shift
	disturbed "$at" -5 interpose q "$@" || rc=$?
	[[ $rc = 1 && $OUT == *"Input/output error"* ]] || fail "$at: exit $rc: $OUT"
}

# killed STEP[!] COMMAND...: the tool ends after this step (!: the guardian, too), and the device is seen to.
killed() {
	local fault=$1 at=${1%!} what=kill suspended=1 intent=/run/qcow2ctl/q.intent rc=0 try
	shift
	[ "$fault" = "$at" ] || what=both
	disturbed "$at" $what "${KILLED:-interpose}" q "$@" || rc=$?
	[ "$rc" = 137 ] || fail "$fault: not killed, exit $rc: $OUT"
	if [[ $fault == *! ]]; then
		[ -e $intent ] || fail "$fault: no intent"
		does recover
	fi
	for ((try = 0; try < 200; try++)); do
		# shellcheck disable=SC2153	# the test has set it
		read -r suspended <"/sys/dev/block/$NUMBER/dm/suspended"
		[ "$suspended" = 1 ] || [ -e $intent ] || break
		sleep 0.05
	done
	[ "$suspended" = 0 ] || fail "$fault: q is suspended"
	[ ! -e $intent ] || fail "$fault: an intent is left"
}

# settled: nothing of a change is under way any more.
settled() {
	local try
	for ((try = 0; try < 200; try++)); do
		[ -e /run/qcow2ctl/q.intent ] || return 0
		sleep 0.05
	done
	fail "an intent is left"
}

# chosen TIMES|kinds ALL: the numbers of steps after which killed_anywhere kills, of all that are in the file steps.
chosen() {
	local turn
	if [ -n "${QCOW2_FULL:-}" ]; then
		for ((turn = 0; turn < 2 * $2; turn++)); do echo $((turn / 2)); done
	elif [ "$1" = kinds ]; then
		nl -v 0 steps | sort -uk 2,2 | awk '{ print $1 }'
	else
		for ((turn = 0; turn < $1; turn++)); do echo $((turn * $2 / $1)); done
	fi
}

# killed_anywhere TIMES|kinds: qcow2ctl is killed so often, or after its first step of each kind, at steps that a recorded run of it
# has taken; by turns with the guardian. With QCOW2_FULL=1 it is at each step, both ways. The test has two functions for it:
# `arrange` sets COMMAND before each turn, and `judge WHERE` looks at what has become of it when the device runs.
killed_anywhere() {
	local all number turn=0 killed=0 rc whom
	arrange
	EDIT_STEPS=$DIR/steps disturbed none kill "${COMMAND[@]}" || fail "${COMMAND[*]}: $OUT"
	judge "undisturbed"
	all=$(wc -l <steps)
	for number in $(chosen "$1" "$all"); do
		rc=0 whom=kill
		[ $((turn++ % 2)) = 0 ] || whom=both
		arrange
		disturbed "$number" $whom "${COMMAND[@]}" || rc=$?
		# How often it asks for something is not the same in each run.
		[ $rc = 137 ] || [ $rc = 0 ] || fail "${COMMAND[*]}: step $number: exit $rc: $OUT"
		killed=$((killed + (rc == 137)))
		[ $whom = kill ] || does recover
		settled
		resumed q
		judge "step $number, $whom"
	done
	want "killed $killed times of $turn" [ $((4 * killed)) -ge $((3 * turn)) ]
	say "${COMMAND[*]}: killed $killed times in $all steps"
}
