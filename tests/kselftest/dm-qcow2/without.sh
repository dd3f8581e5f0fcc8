# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# A machine without qemu-utils and without the dmsetup binary, for the tool: it wraps neither. The test itself has
# copies that no PATH leads to.

# without: from here on, to the end of the test.
without() {
	local name path
	mkdir -p /run/without
	for name in qemu-img qemu-io dmsetup qemu-nbd qemu-storage-daemon dmstats; do
		path=$(type -P $name) || continue
		path=$(readlink -f "$path")
		# dmstats is a name of dmsetup.
		[ -s "$path" ] || continue
		if [[ $name == qemu-i* || $name == dmsetup ]]; then
			cp "$path" /run/without/$name
			eval "$name() { /run/without/$name \"\$@\"; }"
		fi
		mount --bind /dev/null "$path"
		MOUNTS+=("$path")
	done
	for name in qemu-img qemu-io dmsetup; do
		! env $name --version >/dev/null 2>&1 || fail "$name can still be run"
		$name --version >/dev/null || fail "the test has no $name"
	done
}
