# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# mount.qcow2, the units and the rule for udev, installed in the root of the test machine, and taken away again.

# uninstalled [CODE]: the end of a test, as cleanup is.
uninstalled() {
	local rc=${1:-$?}
	PREFIX=/usr "$TREE/scripts/install-boot" uninstall
	rm -f /usr/sbin/qcow2ctl
	cleanup "$rc"
}
if [ -x "$TREE/scripts/install-boot" ]; then
	PREFIX=/usr "$TREE/scripts/install-boot" install
	ln -sf "$QCOW2CTL" /usr/sbin/qcow2ctl
	trap uninstalled EXIT
elif [ ! -e /usr/sbin/mount.qcow2 ]; then
	skip "mount.qcow2 and its like are not installed"
fi

# gone NAME...: no such device, a moment later; nor its table, which device-mapper puts away after its name.
gone() {
	local name tries
	for name in "$@"; do
		for ((tries = 0; tries < 50; tries++)); do
			dmsetup info "$name" >/dev/null 2>&1 || continue 2
			sleep 0.1
		done
		fail "$name is still there"
	done
	for ((tries = 0; tries < 50; tries++)); do
		[ "$(</sys/module/dm_qcow2/refcnt)" -gt "$(dmsetup table --target qcow2 | grep -c qcow2)" ] || return 0
		sleep 0.1
	done
	fail "a table is still there"
}
