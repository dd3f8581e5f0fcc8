#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A full device: writes wait, and go on after space was made, by whatever; error and full_timeout; suspend never hangs.
# cpus=2

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
truncate -s 8M disk.raw
loop disk.raw
qemu-img create -q -f qcow2 "$LOOP" 32M
fill() { dd if=/dev/zero of=/dev/mapper/q bs=64k count=256 oflag=direct status=none; }
attach q "$LOOP" when_full error
fill 2>/dev/null && fail "a full device took everything"
is q space full
is q mode rw
detach q
clean "$LOOP"
ok "when_full error"
attach q "$LOOP" when_full queue
dd if=/dev/urandom of=data bs=64k count=200 status=none
dd if=data of=/dev/mapper/q bs=64k oflag=direct status=none &
writer=$!
soon q space full
soon q parked 1
truncate -s 64M disk.raw
losetup -c "$LOOP"
dmsetup message q 0 retry
wait $writer || fail "the parked writer got an error"
soon q space ok
is q parked 0
want "content" cmp -n $((200 << 16)) data /dev/mapper/q
detach q
clean "$LOOP"
ok "when_full queue goes on after retry"
truncate -s 8M disk2.raw
loop disk2.raw
qemu-img create -q -f qcow2 "$LOOP" 32M
attach q "$LOOP" full_timeout 2
fill 2>/dev/null && fail "a full device took everything"
is q space full
one() { dd if=/dev/zero of=/dev/mapper/q bs=64k count=1 seek="$1" oflag=direct status=none; }
blkdiscard -o 0 -l 256K /dev/mapper/q
for ((at = 0; at < 100; at++)); do
	! one 300 2>/dev/null || break
	sleep 0.1
done
soon q space ok
fill 2>/dev/null &
writer=$!
soon q parked 1
wait $writer && fail "a full device took everything"
ok "full_timeout, for each time that there is no space"
detach q
attach q "$LOOP"
one 301 &
writer=$!
soon q parked 1
blkdiscard -o 1M -l 256K /dev/mapper/q
soon q parked 0
wait $writer || fail "a write got an error though a discard made space"
soon q space ok
ok "a discard makes space"
detach q
attach q "$LOOP" full_timeout 4294968	# more milliseconds than 32 bits have
fill 2>/dev/null &
writer=$!
soon q parked 1
sleep 2
is q parked 1
timeout 20 dmsetup suspend --nolockfs q || fail "suspend hangs on a parked write"
is q parked 0
dmsetup resume q
wait $writer && fail "the parked writer got no error"
detach q
clean "$LOOP"
ok "suspend with a parked write"
qemu-img create -q -f qcow2 "$LOOP" 32M
attach q "$LOOP" low_water $(((6 << 20) / 512))
is q space ok
dd if=/dev/zero of=/dev/mapper/q bs=64k count=64 oflag=direct status=none
soon q space low
dmsetup suspend q
dmsetup resume q
soon q space low
detach q
ok "low_water, again after a resume"
truncate -s 8M disk3.raw
loop disk3.raw
qemu-img create -q -f qcow2 -o cluster_size=4k "$LOOP" 32M
qemu-io -f qcow2 -c 'write -P 1 24M 64k' "$LOOP" >/dev/null
qemu-img snapshot -c s "$LOOP"
attach q "$LOOP" when_full error
fill 2>/dev/null && fail "a full device took everything"
detach q
attach q "$LOOP"
blkdiscard -o 24M -l 64K /dev/mapper/q &	# the table that maps it belongs to the snapshot, too
discard=$!
soon q parked 1
is q space full
truncate -s 64M disk3.raw
losetup -c "$LOOP"
dmsetup message q 0 retry
want "a discard with space again" wait $discard
soon q space ok
detach q
clean "$LOOP"
ok "a discard that needs space"
