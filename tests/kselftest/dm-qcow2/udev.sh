# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# For tests with a udevd of their own. They undo what udev_start does by udev_stop, in their trap.

UDEVD=
for at in /lib/systemd/systemd-udevd /usr/lib/systemd/systemd-udevd /sbin/udevd; do
	[ ! -x "$at" ] || UDEVD=$at
done
[ -n "$UDEVD" ] || skip "no udevd"

# udev_start: from here on device-mapper's devices are made by udev. The daemon and its workers stand
# in /: in the scratch filesystem they would keep it mounted for as long as they take to end.
udev_start() {
	mkdir -p /run/udev
	(cd / && "$UDEVD" --daemon)
	unset DM_DISABLE_UDEV
}

udev_stop() {
	udevadm control --exit 2>/dev/null || true
	rm -rf /run/udev
}
