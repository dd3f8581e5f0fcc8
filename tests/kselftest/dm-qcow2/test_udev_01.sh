#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# With udev: the node is there, made by udev, when attach returns, and gone when detach returns.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
# shellcheck source=tests/kselftest/dm-qcow2/udev.sh
. "$HERE/udev.sh"
scratch ext4
create a.qcow2 16M
trap 'rc=$?; udev_stop; cleanup $rc' EXIT
udev_start
for round in 1 2 3 4 5; do
	[ "$("$QCOW2CTL" attach a.qcow2 q)" = /dev/mapper/q ] || fail "attach"
	DEVICES=(q)
	want "round $round: no node made by udev" [ -L /dev/mapper/q ]
	want "round $round: not a block device" [ -b /dev/mapper/q ]
	for at in $(pidof "${UDEVD##*/}"); do
		[ "$(readlink "/proc/$at/cwd" || echo /)" = / ] || fail "round $round: udevd keeps the scratch filesystem"
	done
	"$QCOW2CTL" detach q || fail "detach"
	[ ! -e /dev/mapper/q ] || fail "round $round: the node is still there"
done
clean a.qcow2
ok "five rounds with udev"
