# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# For tests with a udevd of their own. They undo what udev_start does by udev_stop, in their trap.

UDEVD='' UDEVD_PID=''
for at in /lib/systemd/systemd-udevd /usr/lib/systemd/systemd-udevd /sbin/udevd; do
	[ ! -x "$at" ] || UDEVD=$at
done
[ -n "$UDEVD" ] || skip "no udevd"

# udev_start: from here on device-mapper's devices are made by udev. The daemon and its workers stand
# in /: in the scratch filesystem they would keep it mounted for as long as they take to end.
udev_start() {
	mkdir -p /run/udev
	(cd / && "$UDEVD" --daemon)
	UDEVD_PID=$(pgrep -nx "${UDEVD##*/}")
	unset DM_DISABLE_UDEV
}

# It promises to end before it does; and one that stays would read the devices of the tests that follow.
udev_stop() {
	local try
	[ -n "$UDEVD_PID" ] || return 0
	udevadm control --exit 2>/dev/null || true
	for ((try = 0; try < 100; try++)); do
		[ -e "/proc/$UDEVD_PID" ] || break
		sleep 0.1
	done
	[ ! -e "/proc/$UDEVD_PID" ] || { pkill -KILL -P "$UDEVD_PID"; kill -KILL "$UDEVD_PID"; } || true
	rm -rf /run/udev
}
