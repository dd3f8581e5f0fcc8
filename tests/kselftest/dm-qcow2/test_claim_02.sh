#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# NAME hands its image to NAME.real and takes it back; nobody else gets it.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

export SECTORS=16384
scratch ext4
create a.qcow2 8M
attach q a.qcow2
device_io q 'write -P 1 0 64k'
inactive q.real
inactive other
table a.qcow2 | dmsetup load q.real
refused "Device or resource busy" "in use by device q " dmsetup load other --table "$(table a.qcow2)"
refused "Device or resource busy" "in use by device q " dmsetup resume q.real
ok "NAME.real waits, others are refused at once"

no_handover() {
	if dmsetup message q 0 handover "$1" 2>/dev/null; then
		fail "handover to $1: $2"
	fi
}
no_handover "$(number q.real)" "q is active"
dmsetup suspend q
refused "Device or resource busy" "parked by device q " dmsetup resume q.real
refused "Device or resource busy" "parked by device q " dmsetup load other --table "$(table a.qcow2)"
no_handover "$(number other)" "other has no table on the image"
no_handover "$(number q)" "q itself"
no_handover 1:2:3 "no number"
no_handover "" "no number"
ok "suspended: parked, and who cannot inherit"

# Void after a resume, after a second message, after a table is gone.
dmsetup message q 0 handover "$(number q.real)"
dmsetup resume q
is q claim active
dmsetup suspend q
refused "Device or resource busy" "parked by device q " dmsetup resume q.real
dmsetup message q 0 handover "$(number q.real)"
no_handover "$(number other)" "other has no table on the image"
refused "Device or resource busy" "parked by device q " dmsetup resume q.real
# A failed resume with a new table has made that the live one.
table a.qcow2 | dmsetup load q.real
dmsetup message q 0 handover "$(number q.real)"
detach q.real
inactive q.real
table a.qcow2 | dmsetup load q.real
refused "Device or resource busy" "parked by device q " dmsetup resume q.real
ok "a handover that has become void"

dmsetup message q 0 handover "$(number q.real)"
hold a.qcow2 w300
refused "Device or resource busy" "byte 300" dmsetup resume q.real
is q claim parked
let_go
dmsetup resume q.real
is q.real claim active
is q claim reserved
refused "Device or resource busy" "in use by device q.real " dmsetup resume q
device_io q.real 'read -P 1 0 64k' 'write -P 2 64k 64k'
ok "handed over"

# A layer on NAME, then the way back.
echo "0 $SECTORS linear /dev/mapper/q.real 0" | dmsetup load q
dmsetup resume q
device_io q 'read -P 2 64k 64k' 'write -P 3 128k 64k'
dmsetup suspend q
table a.qcow2 | dmsetup load q
dmsetup suspend q.real
dmsetup message q.real 0 handover "$(number q)"
dmsetup resume q
is q claim active
is q.real claim reserved
device_io q 'read -P 1 0 64k' 'read -P 2 64k 64k' 'read -P 3 128k 64k'
detach q.real
holds a.qcow2 "$RW 300"
detach q
holds a.qcow2 ""
clean a.qcow2
ok "under a layer and back"

# The owner goes while the heir waits: the image is free for it.
attach q a.qcow2
inactive q.real
table a.qcow2 | dmsetup load q.real
dmsetup suspend q
detach q
holds a.qcow2 "$RW"
dmsetup resume q.real
is q.real claim active
detach q.real
holds a.qcow2 ""
ok "the owner goes first"
