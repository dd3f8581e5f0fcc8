# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# Layers between a device and its image: put in and taken out, and what must be as before then.

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/edit.sh"

made q q.real q.frozen
WRITER=
# A writer that is still there would keep the mount.
end_writer() {
	local rc=$?
	set +e
	[ -z "$WRITER" ] || kill "$WRITER" 2>/dev/null
	cleanup "$rc"
}
trap end_writer EXIT

# remembered SIZE: mounted, and all that has to be as before is known.
remembered() {
	mounted "$1"
	NUMBER=$(number q)
	remember
}

# facts: sets FACTS to all that a layer must leave as it was. `table` and `queue/` of a device, who is
# there, what it stands on, loop devices and files.
facts() {
	local file value
	FACTS="$(dmsetup table) $(dmsetup ls) $(dmsetup deps) "$'\n'
	for file in "/sys/dev/block/$(number q)"/queue/*; do
		[ -f "$file" ] || continue
		value=
		{ read -r value <"$file"; } 2>/dev/null || true
		FACTS+="${file##*/}: $value"$'\n'
	done
	for file in /sys/block/loop*/loop/backing_file; do
		[ ! -e "$file" ] || FACTS+="$file"$'\n'
	done
	for file in "$DIR"/*.q.* /run/qcow2ctl/*.intent /var/lib/qcow2ctl/*; do
		[ ! -e "$file" ] || FACTS+="$file"$'\n'
	done
}

remember() {
	facts
	BEFORE=$FACTS
}

# A loop device goes a moment after its last user.
as_before() {
	local try
	for ((try = 0; try < 20; try++)); do
		facts
		[ "$FACTS" != "$BEFORE" ] || break
		sleep 0.1
	done
	[ "$FACTS" = "$BEFORE" ] || fail "after the layer: $(diff <(echo "$BEFORE") <(echo "$FACTS"))"
	runs q
}

# stands TARGET: the layer is there and runs, and it alone is above the image.
stands() {
	local info
	info=$(dmsetup table q)
	[[ $info == "0 "*" $1 "* ]] || fail "q is no $1: $info"
	info=$(dmsetup info q)
	[[ $info == *"State: "*ACTIVE* && $info != *INACTIVE* ]] || fail "q: $info"
	is q.real claim active
	[ ! -e /run/qcow2ctl/q.intent ] || fail "an intent is left"
	[ ! -e /dev/mapper/q.real ] || fail "q.real has a node"
}

# inserted TARGET: by the last command.
inserted() {
	[[ $OUT =~ paused\ q\ for\ [0-9]+\.[0-9]\ ms ]] || fail "no pause: $OUT"
	stands "$1"
}

# put_in TARGET LAYER [OPTION...]
put_in() {
	local target=$1
	shift
	does interpose q "$@"
	inserted "$target"
}

taken_out() {
	pauses interpose q --remove
	as_before
}

# over: the writer has seen nothing of it, the image is clean.
over() {
	stop_writer
	umount /mnt/guest
	want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
	detach q
	clean a.qcow2
}

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

# killed_anywhere TIMES|kinds: qcow2ctl is killed so often, or after its first step of each kind, at steps that a recorded run of it
# has taken; by turns with the guardian. With QCOW2_FULL=1 it is at each step, both ways. The test has two functions for it:
# `arrange` sets COMMAND before each turn, and `judge WHERE` looks at what has become of it when the device runs.
killed_anywhere() {
	local choose='NR { print NR - 1, NR - 1 }' number turn=0 killed=0 rc whom
	arrange
	EDIT_STEPS=$DIR/steps disturbed none kill "${COMMAND[@]}" || fail "${COMMAND[*]}: $OUT"
	judge "undisturbed"
	case ${QCOW2_FULL:+full}$1 in
	full*) ;;
	kinds) choose='!seen[$0]++ { print NR - 1 }' ;;
	*) choose="END { for (turn = 0; turn < $1; turn++) print int(turn * NR / $1) }" ;;
	esac
	for number in $(awk "$choose" steps); do
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
	say "${COMMAND[*]}: killed $killed times in $(wc -l <steps) steps"
}
