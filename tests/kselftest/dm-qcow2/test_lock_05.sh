#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Byte 300: kernel and tool own the metadata by turns.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

SECTORS=16384
scratch ext4
create a.qcow2 8M
attach q a.qcow2
ofdlock a.qcow2 w300 2>/dev/null && fail "a tool gets byte 300 of an active device"
dmsetup suspend q
hold a.qcow2 w300 r100 r101 r103 r201 r203
refused "Device or resource busy" "edited by a tool \(byte 300\)" dmsetup resume q
[ "$(dmsetup info -c --noheadings -o suspended q)" = Suspended ] || fail "not suspended"
is q claim parked
is q mode rw
let_go
dmsetup resume q
is q claim active
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=4 oflag=direct status=none
ok "a tool at work refuses the resume, and nothing else"

# A request waits for as long as the tool works.
dmsetup suspend q
hold a.qcow2 w300
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=4 oflag=direct status=none &
writer=$!
dmsetup resume q 2>/dev/null && fail "resumed"
kill -0 $writer || fail "the write did not wait"
let_go
dmsetup resume q
wait $writer
ok "requests wait"

# A reload in the middle: the old table is gone, the new one stands for it.
dmsetup suspend q
hold a.qcow2 w300
table a.qcow2 | dmsetup load q
refused "Device or resource busy" "byte 300" dmsetup resume q
is q claim parked
refused "Device or resource busy" "image is parked by device q " attach bad a.qcow2
let_go
dmsetup resume q
is q claim active
detach q
ok "a reload while a tool works"

attach_ro q a.qcow2
dmsetup suspend q
hold a.qcow2 w300
refused "Device or resource busy" "byte 300" dmsetup resume q
let_go
dmsetup resume q
detach q
clean a.qcow2
ok "read-only devices too"
