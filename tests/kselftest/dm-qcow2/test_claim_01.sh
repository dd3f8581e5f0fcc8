#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Tables of one device follow each other on one image, in every change of role.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

export SECTORS=16384
scratch ext4
create a.qcow2 8M
create -b a.qcow2 -F qcow2 over.qcow2

attach q a.qcow2
dmsetup table q | dmsetup load q
holds a.qcow2 "$RW 300"
is q claim active
dmsetup resume q
is q claim active
holds a.qcow2 "$RW 300"
dmsetup table q | dmsetup load q
dmsetup clear q
is q claim active
holds a.qcow2 "$RW 300"
ok "the same table again"

# A new layer on top: the right to write is given up, and the bytes for it.
device_io q 'write -P 1 0 64k'
table over.qcow2 -b qcow2:a.qcow2 | dmsetup load q
holds a.qcow2 "$RW 300"
holds over.qcow2 "$RW"
dmsetup resume q
holds a.qcow2 "$RO 300"
holds over.qcow2 "$RW 300"
attach_ro r a.qcow2
cmp -n 65536 /dev/mapper/r /dev/mapper/q || fail "r reads something else"
device_io q 'read -P 1 0 64k' 'write -P 2 0 4k'
ok "writer to lower layer; another device may read"

# And back: not while another device reads.
refused "Device or resource busy" "in use by device r" dmsetup load q --table "$(table a.qcow2)"
detach r
table a.qcow2 | dmsetup load q
holds a.qcow2 "$RW 300"
dmsetup resume q
holds a.qcow2 "$RW 300"
holds over.qcow2 ""
device_io q 'read -P 1 0 64k'
ok "lower layer to writer"

# Read-only and back.
table a.qcow2 | dmsetup load --readonly q
dmsetup resume q
holds a.qcow2 "$RO 300"
is q mode ro
table a.qcow2 | dmsetup load q
dmsetup resume q
holds a.qcow2 "$RW 300"
is q mode rw
device_io q 'write -P 3 64k 64k'
ok "writer, reader, writer"

# A change of role whose resume fails leaves the device the owner of what it has parked.
dmsetup suspend q
hold a.qcow2 w300
table over.qcow2 -b qcow2:a.qcow2 | dmsetup load q
refused "Device or resource busy" "byte 300" dmsetup resume q
refused "Device or resource busy" "image is parked by device q " attach bad a.qcow2
refused "Device or resource busy" "image is parked by device q " attach_ro bad a.qcow2
let_go
dmsetup resume q
holds a.qcow2 "$RO 300"
detach q
holds a.qcow2 ""
clean a.qcow2
clean over.qcow2
ok "a failed change of role"

# One image twice in a table.
cp a.qcow2 base.qcow2
refused "Invalid argument" "twice" attach bad over.qcow2 -b qcow2:over.qcow2
ln over.qcow2 link.qcow2
refused "Invalid argument" "twice" attach bad over.qcow2 -b qcow2:link.qcow2
holds over.qcow2 ""
ok "an image over itself"
