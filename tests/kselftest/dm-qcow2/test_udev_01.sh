#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# With udev: the node is there, made by udev, when attach returns, and gone when detach returns. What outlives a
# reboot, or goes to commands of others, has the name of a volume and not its number.

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
		cwd=$(readlink "/proc/$at/cwd" || echo /)
		want "round $round: udevd keeps the scratch filesystem" [ "$cwd" = / ]
	done
	"$QCOW2CTL" detach q || fail "detach"
	[ ! -e /dev/mapper/q ] || fail "round $round: the node is still there"
done
clean a.qcow2
ok "five rounds with udev"

ramdisk 1 64
dmsetup create low --table "0 131072 linear /dev/ram1 0"
DEVICES=(low)
named() { [[ $("$QCOW2CTL" info --json "$1") == *'"backing": "/dev/mapper/low"'* ]]; }
"$QCOW2CTL" create /dev/mapper/low 64M
"$QCOW2CTL" clone /dev/mapper/low clone.qcow2 k >/dev/null
DEVICES+=(k)
want "clone" named ./clone.qcow2
"$QCOW2CTL" detach k
want "a link below --allow-under" "$QCOW2CTL" attach --chain=follow --allow-under /dev clone.qcow2 k >/dev/null
"$QCOW2CTL" detach k
ok "the name of a volume in a clone"

"$QCOW2CTL" attach --low-water 60M /dev/mapper/low q >/dev/null
DEVICES+=(q)
dd if=/dev/urandom of=/dev/mapper/q bs=1M count=8 oflag=direct status=none
soon q space low
# shellcheck disable=SC2016	# for the shell of monitor
"$QCOW2CTL" monitor --on low-water='echo "$QCOW2_IMAGE" >>said' q >events &
monitor=$!
for ((tries = 0; tries < 50; tries++)); do
	[ ! -s said ] || break
	sleep 0.1
done
kill $monitor
wait $monitor || fail "monitor ends with 0"
want "a command gets $(cat said)" [ "$(cat said)" = /dev/mapper/low ]
"$QCOW2CTL" snapshot create --external over.qcow2 q
want "snapshot create --external" named ./over.qcow2
"$QCOW2CTL" detach q
dmsetup remove low
ok "and in an overlay, and for the commands of monitor"
