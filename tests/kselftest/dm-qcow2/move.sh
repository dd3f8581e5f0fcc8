# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# A device that moves to another image while it is used.

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/interpose.sh"

made q q.real q.frozen q.copy

# alone: there is no part of q, q runs, and nothing of a move is left.
alone() {
	local name names info
	names=$'\n'$(dmsetup ls)
	for name in q.real q.frozen q.copy; do
		[[ $names != *$'\n'"$name"$'\t'* ]] || fail "$name is there"
	done
	[ ! -e /run/qcow2ctl/q.intent ] || fail "an intent is left"
	info=$(dmsetup info q)
	[[ $info == *"State: "*ACTIVE* ]] || fail "q does not run"
	[[ $info != *INACTIVE* ]] || fail "q has a table that waits"
}

# moved IMAGE: q has this image now, and runs.
moved() {
	alone
	[[ $(dmsetup table q) == *" qcow2 1 qcow2 $DIR/$1"* ]] || fail "q is elsewhere: $(dmsetup table q)"
	runs q
}

# stale IMAGE DEST: it is marked, whole, and kept from writers.
stale() {
	clean "$1"
	answers 4 "stale, its disk has moved to $DIR/$2" attach "$1" other
	does attach -r "$1" other
	does detach other
}

# begun SIZE [CREATE-OPTION...]: as `mounted`, but qcow2ctl makes the device, so that it stays its own whatever it has.
begun() {
	create "${@:2}" a.qcow2 "$1"
	does attach a.qcow2 q
	mkfs.ext4 -q /dev/mapper/q
	mkdir -p /mnt/guest
	mount /dev/mapper/q /mnt/guest
	MOUNTS+=(/mnt/guest)
	writer /mnt/guest/busy 0.01
	NUMBER=$(number q)
}

# slowly WORDS...: a move that takes its time, with --bwlimit; it has its layer. Sets MOVE to its process.
slowly() {
	local try
	"$QCOW2CTL" move q "$@" 2>said &
	# shellcheck disable=SC2034
	MOVE=$!
	for ((try = 0; try < 200; try++)); do
		[[ $(dmsetup table q) == *" qcow2 "* ]] || return 0
		sleep 0.05
	done
	fail "no layer: $(<said)"
}
