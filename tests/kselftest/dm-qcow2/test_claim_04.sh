#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# However a device goes, its locks go with it, and not before the last table.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

export SECTORS=16384
scratch ext4
create a.qcow2 8M

# goes HOW COMMAND...: a device with a live and an inactive table, removed by COMMAND.
goes() {
	local text=$1
	shift
	attach q a.qcow2
	table a.qcow2 | dmsetup load q
	"$@"
	holds a.qcow2 ""
	ok "$text"
}

suspended() { dmsetup suspend q && detach q; }
replaced() {
	dmsetup load q --table "0 $SECTORS error"
	holds a.qcow2 "$RW 300"
	dmsetup resume q
	holds a.qcow2 ""
	detach q
}
forced() {
	exec 8</dev/mapper/q
	! dmsetup remove --force q 2>/dev/null || fail "an open device was removed"
	holds a.qcow2 ""
	exec 8<&-
	dmsetup remove --retry q
}
deferred() {
	exec 8</dev/mapper/q
	dmsetup remove --deferred q
	holds a.qcow2 "$RW 300"
	exec 8<&-
	# The name goes first, then a worker of device-mapper puts the table away.
	for _ in {1..50}; do
		bytes a.qcow2
		! gone q || [ -n "$BYTES" ] || break
		sleep 0.1
	done
}
twice_loaded() {
	table a.qcow2 | dmsetup load q
	table a.qcow2 | dmsetup load --readonly q
	holds a.qcow2 "$RW 300"
	dmsetup resume q
	holds a.qcow2 "$RO 300"
	detach q
}
edited() {
	dmsetup suspend q
	hold a.qcow2 w300 r201
	detach q
	holds a.qcow2 "201 300"
	let_go
}
goes "removed" detach q
goes "removed while suspended" suspended
goes "replaced by another target" replaced
goes "removed by force" forced
goes "removed when closed" deferred
goes "tables loaded over tables" twice_loaded
goes "removed while a tool edits: the tool keeps its own" edited

# Refused constructors leave nothing behind, whichever layer it is.
create -b a.qcow2 -F qcow2 over.qcow2
hold a.qcow2 r101
refused "Device or resource busy" "byte 101" attach bad over.qcow2 -b qcow2:a.qcow2
holds over.qcow2 ""
let_go
SECTORS=99999 refused "Invalid argument" "longer" attach bad a.qcow2
holds a.qcow2 ""
clean a.qcow2
ok "refused loads leave no lock"
