# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# KTAP output, and the questions that every case asks: did it work, was it refused rightly.

KTAP_N=0
KTAP_MARK="qcow2-test $$ ${0##*/}"
echo "KTAP version 1"
echo "$KTAP_MARK" >/dev/kmsg

say() { echo "# $*"; }

ok() {
	KTAP_N=$((KTAP_N + 1))
	echo "ok $KTAP_N $*"
}

fail() {
	KTAP_N=$((KTAP_N + 1))
	echo "not ok $KTAP_N $*"
	exit 1
}

skip() {
	KTAP_N=$((KTAP_N + 1))
	echo "ok $KTAP_N # SKIP $*"
	exit 4
}

# want TEXT COMMAND...: the command must succeed.
want() {
	local text=$1
	shift
	"$@" || fail "$text"
}

# mark: what the kernel says from here on is what log prints.
mark() {
	LOG_MARK="qcow2-mark $RANDOM-$RANDOM"
	echo "$LOG_MARK" >/dev/kmsg
}

log() { dmesg | sed "1,/$LOG_MARK/d"; }

# logged SENTENCE: the kernel has said it since the mark (an extended regular expression).
logged() {
	local said
	said=$(log)
	grep -qE "qcow2: .*$1" <<<"$said" || fail "no sentence '$1' in: $said"
}

# refused ERRNO-TEXT SENTENCE COMMAND...: it must fail with this errno, and the kernel must say SENTENCE.
refused() {
	local errno=$1 sentence=$2 out
	shift 2
	mark
	if out=$("$@" 2>&1); then
		fail "not refused: $*"
	fi
	[[ $out == *"$errno"* ]] || fail "errno is not '$errno': $out"
	logged "$sentence"
}

need_module() { modprobe "$@" 2>/dev/null || skip "this kernel has no module $1"; }

# splat: what no test may cause, said since the test began.
splat() {
	dmesg | sed "1,/$KTAP_MARK/d" |
		grep -E 'WARNING: |\bBUG\b|Oops|KASAN|UBSAN|refcount_t: |blocked for more|circular locking|list_(add|del)|Objects remaining'
}
