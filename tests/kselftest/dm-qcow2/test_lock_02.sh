#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A load is refused while another process uses the image; the sentence names the byte.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

SECTORS=16384
scratch ext4
create a.qcow2 8M

# foreign LOCK {rw|ro} BYTE: with LOCK held the load is refused because of BYTE.
foreign() {
	local option=
	[ "$2" = rw ] || option=--readonly
	hold a.qcow2 "$1"
	# shellcheck disable=SC2086
	refused "Device or resource busy" "locked by another process \(byte $3\)" \
		dmsetup create $option bad --table "$(table a.qcow2)"
	holds a.qcow2 "$3"
	let_go
	ok "$1 keeps $2 out"
}

foreign r201 rw 201
foreign r203 rw 203
foreign r200 rw 200
foreign r101 ro 101
foreign r103 ro 103
foreign w100 ro 100
foreign w203 rw 203

# What does not concern us.
hold a.qcow2 r100 r102 w102 w202
attach q a.qcow2
detach q
let_go
hold a.qcow2 r201 r203
attach_ro q a.qcow2
detach q
let_go
ok "locks that go together with ours"

# QEMU itself.
qemu() {
	local name=
	qemu-io "$@" -c 'sleep 300000' a.qcow2 >/dev/null 2>&1 &
	HOLDER=$!
	until [ "$name" = "$RW" ] || [ "$name" = "$RO" ]; do
		bytes a.qcow2
		name=$BYTES
		kill -0 $HOLDER || fail "qemu-io ended"
	done
}
qemu
refused "Device or resource busy" "byte 201" attach bad a.qcow2
refused "Device or resource busy" "byte 101" attach_ro bad a.qcow2
dmsetup info bad >/dev/null 2>&1 && fail "a device was left behind"
ok "QEMU writes the image"
kill -9 $HOLDER
wait $HOLDER 2>/dev/null || true
attach q a.qcow2
detach q
ok "QEMU was killed"
qemu -r
refused "Device or resource busy" "byte 201" attach bad a.qcow2
attach_ro q a.qcow2
holds a.qcow2 "$RO 300"
kill $HOLDER
wait $HOLDER 2>/dev/null || true
detach q
ok "QEMU reads the image, and so may we"
