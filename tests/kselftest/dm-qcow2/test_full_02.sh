#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A commit that has no space for its metadata, while no write waits: its flush ends by full_timeout, at once with
# when_full error, and well when there is space again, and so does the next one. The tool leaves such a device alone.

# shellcheck source=tests/kselftest/dm-qcow2/full.sh
. "$(dirname "$0")/full.sh"

scratch ext4
small_store
# All of the disk below has its space, but for four slices of an L2 table: those of 256, 288, 320 and 352 MiB.
head -c 40M /dev/zero >small/disk.raw
loop small/disk.raw
qemu-img create -q -f qcow2 "$LOOP" 512M
qemu-io -f qcow2 -c 'write -P 1 0 64k' "$LOOP" >/dev/null
no_space "$LOOP" 0
fill_store

# write_there NUMBER: its data has space, its mapping has none.
write_there() { dd if=/dev/zero of=/dev/mapper/q bs=64k count=1 seek=$((4096 + $1)) oflag=direct status=none; }

attach q "$LOOP" full_timeout 2 commit_ms 60000
write_there 0
code=0
flushed || code=$?
[ $code != 0 ] || fail "a flush without space was answered with success"
[ $code != 124 ] || fail "a flush waits for space for ever"
is q space full
is q mode rw
ok "full_timeout"
empty_store
dmsetup message q 0 retry
want "a flush with space again" flushed
soon q space ok
detach q
clean "$LOOP"
ok "space again"
fill_store
attach q "$LOOP" when_full error commit_ms 60000
write_there 512
code=0
flushed || code=$?
[ $code != 0 ] || fail "a flush without space was answered with success"
[ $code != 124 ] || fail "a flush waits for space for ever"
is q mode rw
ok "when_full error"
empty_store
dmsetup message q 0 retry
want "a flush with space again" flushed
detach q
clean "$LOOP"
ok "space again, after an error"

# The next flush belongs to the next commit, which nobody asks for again. A suspend now would lose the device.
fill_store
attach q "$LOOP" full_timeout 0 commit_ms 60000
write_there 1536
flushed &
first=$!
soon q space full
flushed &
second=$!
answers 8 "its metadata waits for space" map q
answers 8 "its metadata waits for space" snapshot create q s
is q mode rw
empty_store
want "a flush with space again" wait $first
want "a flush that came while the other one waited" wait $second
soon q space ok
does map q
detach q
clean "$LOOP"
ok "two flushes, and edits"

# Who answers the event with retries must not make those wait again that a suspend lets go.
fill_store
attach q "$LOOP" full_timeout 0 commit_ms 60000
write_there 1024
flushed &
flush=$!
soon q space full
(while dmsetup message q 0 retry 2>/dev/null; do :; done) &
retries=$!
sleep 1
timeout 30 dmsetup suspend --nolockfs q || fail "retries keep the suspend waiting"
kill $retries
wait $flush && fail "a flush without space was answered with success"
dmsetup resume q
is q mode lost
detach q
ok "retries beside a suspend"
losetup -d "$LOOP"
umount small
