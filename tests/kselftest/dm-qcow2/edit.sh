# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# Edits of attached devices: qcow2ctl, what it answers, and somebody who uses the device meanwhile.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/locks.sh"

# mounted SIZE [SECONDS|- [CREATE-OPTION...]]: a.qcow2 as device q, ext4 on it at /mnt/guest, and a writer there that
# pauses for so long after each block; with - there is none.
mounted() {
	create "${@:3}" a.qcow2 "$1"
	attach q a.qcow2
	mkfs.ext4 -q /dev/mapper/q
	mkdir -p /mnt/guest
	mount /dev/mapper/q /mnt/guest
	MOUNTS+=(/mnt/guest)
	[ "${2:-}" = - ] || writer /mnt/guest/busy ${2:+"$2"}
}

# steps HOW EDIT...: disturb each step of these edits of q over a.qcow2, see edit_steps.py.
steps() {
	local step
	step=$(command -v edit_step.so) || fail "edit_step.so is not built"
	python3 "$HERE/edit_steps.py" "$QCOW2CTL" "$step" q "$DIR/a.qcow2" "$@"
}

# written: the end of a test whose edits made images: all are clean.
written() {
	local image
	stop_writer
	runs q
	detach q
	for image in *.qcow2; do
		clean "$image"
	done
	ok "the images are clean"
}

# does COMMAND...: qcow2ctl must succeed; sets OUT to all that it prints.
does() {
	OUT=$("$QCOW2CTL" "$@" 2>&1) || fail "qcow2ctl $*: exit $?: $OUT"
}

# pauses COMMAND...: the same, and the device was suspended for it, and runs.
pauses() {
	does "$@"
	[[ $OUT =~ paused\ q\ for\ [0-9]+\.[0-9]\ ms ]] || fail "qcow2ctl $*: no pause: $OUT"
	runs q
}

# answers CODE PATTERN COMMAND...: exit code and what it says; the device runs.
answers() {
	local code=$1 pattern=$2 rc=0
	shift 2
	OUT=$("$QCOW2CTL" "$@" 2>&1) || rc=$?
	[ "$rc" = "$code" ] || fail "qcow2ctl $*: exit $rc, not $code: $OUT"
	[[ $OUT =~ $pattern ]] || fail "qcow2ctl $*: no '$pattern' in: $OUT"
}

# runs NAME: neither suspended nor with a table that waits, and nothing of an edit is left.
runs() {
	local info
	info=$(dmsetup info "$1")
	[[ $info == *"State: "*ACTIVE* && $info != *INACTIVE* ]] || fail "$1 does not run: $info"
	[ ! -e "/run/qcow2ctl/$1.intent" ] || fail "$1: an intent is left"
	is "$1" claim active
}

# resumed NAME: within ten seconds it is not suspended any more.
resumed() {
	local at
	for ((at = 0; at < 100; at++)); do
		[[ $(dmsetup info "$1") == *SUSPENDED* ]] || return 0
		sleep 0.1
	done
	dmsetup resume "$1"
	fail "$1 is suspended for ever"
}

# writer FILE [SECONDS]: another process writes numbered, checksummed blocks to FILE and reads them back, with
# a pause between them, until stop_writer.
writer() {
	rm -f enough
	python3 "$HERE/edit_writer.py" "$1" "$DIR/enough" "${2:-0.01}" &
	WRITER=$!
}

# shellcheck disable=SC2153 # STEP is edit_step.so
# stopped STEP-NAME WORD...: TOOL is a qcow2ctl that has stopped after its first step of that name; what it
# says goes to the file "said". It is in the control group GROUP, if there is one.
stopped() {
	local step=$1 state='' at
	shift
	(
		[ -z "${GROUP:-}" ] || echo "$BASHPID" >"$GROUP/cgroup.procs"
		LD_PRELOAD=$STEP EDIT_AT=$step EDIT_DO=19 exec "$QCOW2CTL" "$@" 2>said
	) &
	TOOL=$!
	for ((at = 0; at < 400; at++)); do
		read -r _ _ state _ <"/proc/$TOOL/stat" || break
		[ "$state" != T ] || return 0
		sleep 0.05
	done
	fail "$*: has not stopped at $step: $(cat said)"
}

# says TEXT: within ten seconds.
says() {
	local at
	for ((at = 0; at < 100; at++)); do
		grep -q "$1" said && return
		sleep 0.1
	done
	fail "it does not say '$1': $(cat said)"
}

# verifier FILE [MICROSECONDS]: the same by fio, which pauses for so long after each block.
verifier() {
	fio --output="$DIR/fio.log" --name=busy --filename="$1" --size=2M --bs=4k --rw=randwrite --direct=1 --fsync=8 \
		--verify=crc32c --verify_backlog=64 --verify_fatal=1 --time_based --runtime=3600 \
		--thinktime="${2:-30000}" &
	VERIFIER=$!
}

# stop_writer: of either kind. It has verified something, and nothing was wrong.
stop_writer() {
	touch "$DIR/enough"
	if [ -n "${VERIFIER:-}" ]; then
		kill -INT "$VERIFIER"
		wait "$VERIFIER" || true		# 128: by a signal
		VERIFIER=
		[[ $(<"$DIR/fio.log") =~ err=\ 0.*issued\ rwts:\ total=[1-9] ]] || fail "fio: $(<"$DIR/fio.log")"
		return
	fi
	wait "$WRITER" || fail "the writer has read what it did not write"
}

[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
