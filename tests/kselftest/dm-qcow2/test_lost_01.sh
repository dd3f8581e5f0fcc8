#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What only reads a lost image gives errors too: its own table, loaded again read-only, a view, and an overlay over it.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# lower TABLE...: the device under the image becomes this, at once.
lower() {
	dmsetup suspend --nolockfs --noflush low
	dmsetup load low --table "$*"
	dmsetup resume low
}

# is_lost NAME: it says so, and reads nothing.
is_lost() {
	is "$1" mode lost
	dd if="/dev/mapper/$1" of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null && fail "$1 reads"
	return 0
}

scratch ext4
need_module dm-flakey
truncate -s 32M disk.raw
loop disk.raw
dmsetup create low --table "0 65536 linear $LOOP 0"
DEVICES+=(low)
create /dev/mapper/low 24M
qemu-img snapshot -c s /dev/mapper/low
attach q /dev/mapper/low commit_ms 60000
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=2 oflag=direct status=none
# dm-flakey, always down: unlike dm-error it has an error for a flush too.
lower "0 65536 flakey $LOOP 0 0 3600"
dmsetup suspend --nolockfs q
is q claim lost
is q clean no
lower "0 65536 linear $LOOP 0"
ok "a lost image"

attach_ro view /dev/mapper/low snapshot 1
is_lost view
detach view
ok "a view of it"
dmsetup load --readonly q --table "$(dmsetup table q)"
dmsetup resume q
is_lost q
detach q
ok "its table, read-only"
