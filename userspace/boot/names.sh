# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=sh
#
# How mount.qcow2 names its device, and the note by which `qcow2ctl recover` knows that the device is its. To be sourced by it alone.
#
# shellcheck disable=SC2154	# mount.qcow2 has set image, run and name

# Without udev there are nodes without a device, and devices without a node.
is_device() { dmsetup info -- "$1" >/dev/null 2>&1; }

# A name that is free, made from that of the image: disk for disk.qcow2, then disk-2.
free_name() {
	base=${image##*/}
	base=${base%.qcow2}
	base=$(printf %.60s "$base" | tr -c 'A-Za-z0-9:_.-' _)
	case $base in
	[A-Za-z0-9_]*) ;;
	*) base=qcow2$base ;;
	esac
	case $base in
	control | *.real | *.frozen) base=${base}_ ;;
	esac
	number=$((${number:-0} + 1))
	name=$base
	[ "$number" = 1 ] || name=$base-$number
	while is_device "$name"; do
		number=$((number + 1))
		name=$base-$number
	done
}

# note: a file that is locked as long as the device is attached and not marked. None for a name that somebody has.
note() {
	! is_device "$name" || return 0
	{ command exec 7>"$run/$name.mount" && flock 7; } || die "$run/$name.mount: cannot be locked"
	noted=yes
}

# forget: before the file is unlocked, so that nobody takes it for one of the dead.
forget() {
	[ -n "$noted" ] || return 0
	rm -f "$run/$name.mount"
	exec 7>&-
	noted=
}
