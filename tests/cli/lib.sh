# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# What the tests of the command line share: KTAP output, a folder of their own, and questions about
# one call of qcow2ctl. They need no kernel module and attach nothing; what needs a device is in
# tests/kselftest. A step that fails does not end the test, all of them are counted.

set -uo pipefail
export LC_ALL=C TZ=UTC

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
TREE=$(readlink -f "$HERE/../..")
Q=${QCOW2CTL:-$TREE/userspace/qcow2ctl}
DIR=$(mktemp -d)
KTAP_N=0
KTAP_FAILED=0
OUT='' ERR='' RC=0

finish() {
	cd /
	mountpoint -q "$DIR/full" && umount "$DIR/full"
	rm -rf "$DIR"
	echo "1..$KTAP_N"
	[ $KTAP_FAILED = 0 ] || exit 1
}
trap finish EXIT

echo "KTAP version 1"
[ -x "$Q" ] || { echo "# $Q: not built"; exit 1; }
cd "$DIR" || exit 1

# alone: from here on the tool runs as where qemu-utils and dmsetup are not installed: it wraps neither.
alone() {
	# shellcheck source=tests/edit/without.sh
	. "$TREE/tests/edit/without.sh"
	without "$DIR" || exit 1
	Q=${QCOW2CTL:-$Q}
}

ok() {
	KTAP_N=$((KTAP_N + 1))
	echo "ok $KTAP_N $*"
}

# notok NAME REASON...: and what the last call said.
notok() {
	KTAP_N=$((KTAP_N + 1))
	KTAP_FAILED=1
	echo "not ok $KTAP_N $1"
	shift
	printf '%s\n' "$@" "exit $RC" "stdout: $OUT" "stderr: $ERR" | sed 's/^/# /'
}

# run COMMAND...: and remember all of it.
run() {
	OUT=$("$@" 2>"$DIR/.stderr" </dev/null)
	RC=$?
	ERR=$(<"$DIR/.stderr")
}

# call WORD...: run qcow2ctl.
call() { run "$Q" "$@"; }

# A process costs more than qcow2ctl does: what follows is all bash. Does a line of $2 match?
matches() {
	local line
	while read -r line; do
		[[ ! $line =~ $1 ]] || return 0
	done <<<"$2"
	return 1
}

# told NAME CODE REGEX: the last run's exit code, and a line of its stderr.
told() {
	if [ $RC = "$2" ] && matches "$3" "$ERR"; then ok "$1"; else notok "$1" "wanted exit $2 and '$3'"; fi
}

# succeeds NAME REGEX WORD...: exit 0, REGEX in the output, nothing on stderr.
succeeds() {
	local name=$1 regex=$2
	shift 2
	call "$@"
	if [ $RC != 0 ] || [ -n "$ERR" ]; then
		notok "$name" "did not succeed: $*"
	elif ! matches "$regex" "$OUT"; then
		notok "$name" "no '$regex' in the output of: $*"
	else
		ok "$name"
	fi
}

# fails CODE NAME REGEX WORD...: this exit code, one line of error with REGEX, at most one hint, no result.
fails() {
	local code=$1 name=$2 regex=$3 why='' line errors=0 hints=0
	shift 3
	call "$@"
	[ $RC = "$code" ] || why="exit code $RC, expected $code"
	[ -z "$OUT" ] || why="$why; output"
	while read -r line; do
		case $line in
		"qcow2ctl: "*) errors=$((errors + 1)) ;;
		"hint: "*) hints=$((hints + 1)) ;;
		*) why="$why; neither error nor hint: $line" ;;
		esac
	done <<<"$ERR"
	[ $errors = 1 ] && [ $hints -le 1 ] || why="$why; $errors errors, $hints hints"
	matches "$regex" "$ERR" || why="$why; no '$regex' on stderr"
	if [ -n "$why" ]; then
		notok "$name" "$why: $*"
	else
		ok "$name"
	fi
}

# hints NAME REGEX: the last call's hint.
hints() {
	if matches "^hint: .*$2" "$ERR"; then
		ok "$1"
	else
		notok "$1" "no hint '$2'"
	fi
}

# holds NAME COMMAND...: any other thing that must be true.
holds() {
	local name=$1 said
	shift
	if said=$("$@" 2>&1); then
		ok "$name"
	else
		notok "$name" "failed: $*" "$said"
	fi
}

# lacks TEXT WORD: the word, byte for byte, is not in the text.
lacks() { [[ $1 != *"$2"* ]]; }
absent() { [ ! -e "$1" ]; }

json() { python3 "$HERE/json_check.py" "$@"; }
evil() { python3 "$HERE/evil.py" "$@"; }
