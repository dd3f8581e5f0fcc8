#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A suspend that is interrupted is undone; one without flush takes waiting writes to the next table.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
truncate -s 64M disk.raw
loop disk.raw
dmsetup create low --table "0 131072 linear $LOOP 0"
DEVICES+=(low)
qemu-img create -q -f qcow2 /dev/mapper/low 16M
attach q /dev/mapper/low
dd if=/dev/urandom of=data bs=64k count=8 status=none
dd if=data of=/dev/mapper/q bs=64k oflag=direct status=none

# A write that does not end keeps the suspend waiting.
dmsetup suspend --nolockfs --noflush low
dd if=data of=/dev/mapper/q bs=64k count=1 skip=1 seek=1 oflag=direct conv=notrunc status=none &
writer=$!
sleep 0.3
timeout -s INT 2 dmsetup suspend --nolockfs q && fail "the suspend did not wait"
dmsetup info q | grep -q "State: *ACTIVE" || fail "suspended by half: $(dmsetup info q)"
dmsetup resume low
wait $writer || fail "the write was lost"
is q claim active
is q mode rw
want "content" cmp -n $((8 << 16)) data /dev/mapper/q
dd if=data of=/dev/mapper/q bs=64k seek=20 oflag=direct status=none
dmsetup suspend q
is q clean yes
dmsetup resume q
detach q
clean /dev/mapper/low
ok "an interrupted suspend"

# Interrupted while a write waits for space: dm core sends it down once more before it tells us, and it goes on waiting.
dmsetup suspend --nolockfs low
dmsetup reload low --table "0 16384 linear $LOOP 0"
dmsetup resume low
qemu-img create -q -f qcow2 /dev/mapper/low 32M
attach q /dev/mapper/low full_timeout 0
dd if=/dev/urandom of=more bs=64k count=200 status=none
dd if=more of=/dev/mapper/q bs=64k oflag=direct status=none &
writer=$!
soon q parked 1
dmsetup suspend --nolockfs --noflush low
dd if=/dev/mapper/q of=/dev/null bs=64k count=1 iflag=direct status=none &
reader=$!
sleep 0.3
timeout -s INT 2 dmsetup suspend --nolockfs --noflush q && fail "the suspend did not wait"
dmsetup reload low --table "0 131072 linear $LOOP 0"
dmsetup resume low
wait $reader || fail "the read was lost"
soon q parked 1
kill -0 $writer || fail "the waiting write was answered"
dmsetup message q 0 retry
wait $writer || fail "the waiting write got an error"
want "content" cmp -n $((200 << 16)) more /dev/mapper/q
detach q
clean /dev/mapper/low
ok "an interrupted suspend with a write that waits for space"

truncate -s 8M small.raw
loop small.raw
qemu-img create -q -f qcow2 "$LOOP" 32M
attach q "$LOOP" full_timeout 0
dd if=/dev/urandom of=more bs=64k count=200 status=none
dd if=more of=/dev/mapper/q bs=64k oflag=direct status=none &
writer=$!
soon q parked 1
dmsetup suspend --nolockfs --noflush q
is q parked 0
kill -0 $writer || fail "the waiting write was answered"
truncate -s 64M small.raw
losetup -c "$LOOP"
dmsetup table q | dmsetup load q
dmsetup resume q
wait $writer || fail "the waiting write got an error"
want "content" cmp -n $((200 << 16)) more /dev/mapper/q
detach q
clean "$LOOP"
ok "a waiting write goes to the next table"
