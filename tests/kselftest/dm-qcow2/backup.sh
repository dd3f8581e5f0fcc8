# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# Backups of device q over a.qcow2: taken while it is written, and compared with what it was then.

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/interpose.sh"

BACKUP=

# begun LOG OPTION...: a backup of q that runs on its own; returns while it is copied or served.
begun() {
	local log=$1 try
	shift
	: >"$log"
	"$QCOW2CTL" backup q --progress=json "$@" 2>"$log" &
	BACKUP=$!
	for ((try = 0; try < 400; try++)); do
		[[ ! $(<"$log") =~ '"copying"'|'is served' ]] || return 0
		sleep 0.05
	done
	fail "backup $*: nothing is copied: $(<"$log")"
}

# ended CODE [q.real]: that backup, and nothing of it is left.
ended() {
	local rc=0
	wait "$BACKUP" || rc=$?
	[ "$rc" = "$1" ] || cat log
	BACKUP=
	[ "$rc" = "$1" ] || fail "backup: exit $rc, not $1"
	untouched "${2:-q}"
}

# untouched [q.real]: of no backup anything is left.
untouched() {
	[ "${1:-q}" = q.real ] || runs q
	! dmsetup info q.frozen >/dev/null 2>&1 || fail "q.frozen is left"
	[ ! -e /run/qcow2ctl/q.frozen.intent ] || fail "an intent is left"
	[[ $("$QCOW2CTL" snapshot list q) != *qcow2ctl-backup* ]] || fail "a snapshot is left"
	[ ! -e /run/qcow2ctl/q.frozen.lock ] || flock -n /run/qcow2ctl/q.frozen.lock true || fail "a lock is left"
}
