#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The point by a layer, also where the image can hold no snapshot, and when its store is full; over layer
# era; the point over NBD.
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/backup.sh
. "$(dirname "$0")/backup.sh"

need_module dm-snapshot
need_module dm-era
scratch ext4
create a.qcow2 8M
qemu-img convert -O raw a.qcow2 model.raw
attach q a.qcow2
exercise q model.raw 1 60
does snapshot create q s0
exercise q model.raw 2 30
cp model.raw point.raw
begun log --to b.qcow2 --via snapshot --bwlimit 4M
stands snapshot-origin
exercise q model.raw 3 60 -d
ended 0
same b.qcow2 point.raw
clean b.qcow2
[ ! -e a.qcow2.q.snapshot ] || fail "a store is left"
cp model.raw point.raw
begun log --to i.qcow2 --via snapshot --bwlimit 1M --since s0 --base b.qcow2,format=qcow2
exercise q model.raw 4 60 -d
ended 0
same i.qcow2 point.raw
want "the stream" cmp <("$QCOW2CTL" backup q --via snapshot --to - 2>/dev/null) model.raw
untouched
ok "by a layer"

put_in era era
answers 5 "layer era stands" backup q --to c.qcow2 --via snapshot
[ ! -e c.qcow2 ] || fail "a result"
begun log --to c.qcow2 --bwlimit 512K
does interpose q --remove
wait "$BACKUP" || fail "the layer went meanwhile: $(<log)"
untouched
begun log --to d.qcow2 --bwlimit 512K
put_in era era
wait "$BACKUP" || fail "the layer came meanwhile: $(<log)"
does interpose q --remove
untouched
same c.qcow2 model.raw
same d.qcow2 model.raw
ok "a layer that comes or goes meanwhile"

does snapshot create q s1
head -c 64k /dev/urandom >piece
for file in /dev/mapper/q model.raw; do
	dd if=piece of=$file bs=64k count=1 seek=64 oflag=direct conv=notrunc status=none
done
begun log --nbd "unix:$DIR/socket"
for ((at = 0; at < 100; at++)); do
	[ ! -S socket ] || break
	sleep 0.1
done
cp model.raw point.raw
exercise q model.raw 5 60
answers 5 "at work" backup q --nbd "unix:$DIR/other"
# What they say has changed is of the point, not of what has become of it.
blkdiscard -o 4M -l 64K /dev/mapper/q
dd if=/dev/zero of=model.raw bs=64k count=1 seek=64 conv=notrunc status=none
does changes q --since s1 --json
[[ $OUT == '['*'{ "start": 4194304, "length": 65536, "data": true, "zero": false}'*']' && $OUT != *start*start* ]] ||
	fail "changes at the point: $OUT"
[[ $(nbdinfo --size "nbd+unix:///?socket=$DIR/socket") = 8388608 ]] || fail "nbdinfo"
nbdcopy "nbd+unix:///?socket=$DIR/socket" nbd.raw || fail "nbdcopy"
cmp nbd.raw point.raw || fail "nbdcopy got something else"
qemu-img compare -f raw -F raw "nbd+unix:///?socket=$DIR/socket" point.raw >/dev/null || fail "qemu-img"
kill -INT "$BACKUP"
ended 0
[ ! -e socket ] || fail "the socket is left"
does changes q --since s1 --json
[[ $OUT == *start*start* ]] || fail "changes after it: $OUT"
touch taken
answers 4 "exists already" backup q --nbd "unix:$DIR/taken"
answers 1 "within 1 seconds" backup q --nbd "unix:$DIR/socket" --deadline 1
untouched
[ ! -e socket ] || fail "the socket is left"
begun log --nbd "unix:$DIR/socket"
kill -KILL "$BACKUP"
wait "$BACKUP" || true
sleep 1
! pgrep -x nbdkit >/dev/null || fail "the server is left"
does recover
untouched
cmp /dev/mapper/q model.raw || fail "the device is not what was written"
ok "over NBD"

# It grows between the look and the freeze; a block device is locked in between.
truncate -s 20M dest.raw
loop dest.raw
{ rc=0; disturbed lock 19 backup q --to "$LOOP" --via snapshot || rc=$?; echo "$OUT"; exit $rc; } >log &
BACKUP=$!
for ((at = 0; at < 100; at++)); do
	[[ $(ps -C qcow2ctl -o stat=) != T* ]] || break
	sleep 0.1
done
does resize q 9M
ps -C qcow2ctl -o pid= | xargs kill -CONT
ended 5
[[ $(<log) == *"its size has changed meanwhile"* ]] || fail "it grew: $(<log)"
ok "a disk that grows meanwhile"
detach q
clean a.qcow2

rm a.qcow2
mkdir tight
mount -t tmpfs -o size=11m tmpfs tight
MOUNTS+=("$DIR/tight")
create -o preallocation=full tight/a.qcow2 8M
attach q tight/a.qcow2
dd if=/dev/urandom of=/dev/mapper/q bs=1M count=8 oflag=direct conv=notrunc status=none
begun log --to full.qcow2 --via snapshot --bwlimit 1M
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=96 oflag=direct conv=notrunc status=none || fail "a write to the device"
ended 8
[[ $(<log) == *"store for what is overwritten is full"* ]] || fail "full: $(<log)"
[ ! -e full.qcow2 ] || fail "a result"
detach q
clean tight/a.qcow2
ok "a full store"

# On a block device: the store lies beside the result.
create -o refcount_bits=1 a.raw 8M
truncate -s 10M a.raw
loop a.raw
SECTORS=16384 attach q "$LOOP"
truncate -s 0 model.raw
truncate -s 8M model.raw
exercise q model.raw 6 60
cp model.raw point.raw
answers 2 "neither its image nor the copy is a file" backup q --to -
begun log --to f.qcow2 --bwlimit 4M
stands snapshot-origin
exercise q model.raw 7 30 -d
ended 0
same f.qcow2 point.raw
[ ! -e f.qcow2.q.snapshot ] || fail "a store is left"
detach q
ok "an image that can hold no snapshot"
