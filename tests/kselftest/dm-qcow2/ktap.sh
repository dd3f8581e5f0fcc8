# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# KTAP output, and the two questions that every case asks: did it work, was it refused rightly.

KTAP_N=0
echo "KTAP version 1"

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
	echo "ok $((KTAP_N + 1)) # SKIP $*"
	KTAP_N=$((KTAP_N + 1))
	exit 4
}

# want TEXT COMMAND...: the command must succeed.
want() {
	local text=$1
	shift
	"$@" || fail "$text"
}

# refused ERRNO-NAME SENTENCE COMMAND...: the load must fail with this errno, and the kernel must say
# SENTENCE (a regular expression).
refused() {
	local errno=$1 sentence=$2 out log mark=refused-$RANDOM-$RANDOM
	shift 2
	echo "$mark" >/dev/kmsg
	if out=$("$@" 2>&1); then
		fail "not refused: $*"
	fi
	[[ $out == *"$errno"* ]] || fail "errno is not '$errno': $out"
	log=$(dmesg)
	log=${log##*"$mark"}
	sentence="qcow2: [^"$'\n'"]*$sentence"
	[[ $log =~ $sentence ]] || fail "no '$sentence' in: $log"
}

need_module() {
	modprobe "$@" 2>/dev/null || skip "no module $1"
}
