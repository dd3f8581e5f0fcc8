#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Extended L2: what one small write costs below, and the same bits as QEMU sets for writes, zeroes and discards.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
head -c 8M /dev/urandom >base.raw

# below: sectors that were written to the image's device.
below() { awk '{ print $7 }' "/sys/block/${LOOP#/dev/}/stat"; }
# costs OFFSET BYTES LIMIT TEXT: a write of so many, and at most LIMIT bytes of data are written below.
costs() {
	local before after flushed
	before=$(below)
	dd if=base.raw of=/dev/mapper/q bs="$2" seek="$(($1 / $2))" count=1 oflag=direct conv=notrunc status=none
	after=$((($(below) - before) * 512))
	[ $after -ge "$2" ] || fail "$4: $after bytes were written below: not counted"
	[ $after -le "$3" ] || fail "$4: $after bytes were written below, more than $3"
	sync -d /dev/mapper/q
	flushed=$((($(below) - before) * 512 - after))
	[ $flushed -le 12288 ] || fail "$4: $flushed bytes of metadata"
	say "$4: $after of data, $flushed of metadata"
}

truncate -s 64M medium.raw
loop medium.raw
for part in 4096 65536; do
	size=$((part * 32))
	create -o "extended_l2=on,cluster_size=$size" -b "$DIR/base.raw" -F raw "$LOOP" 8M
	qemu-io -f qcow2 -c "write -z $((part * 40)) $((part * 2))" "$LOOP" >/dev/null
	SECTORS=16384 attach q "$LOOP" -b raw:base.raw commit_ms 60000
	dd if=base.raw of=/dev/mapper/q bs=512 count=1 oflag=direct conv=notrunc status=none
	sync -d /dev/mapper/q
	costs $((part * 64)) 4096 $part "$size: a new cluster"
	costs $((part * 70)) 4096 $part "$size: another subcluster"
	costs $((part * 40)) 4096 $part "$size: a subcluster that reads as zeros"
	costs $((part * 70)) 4096 4096 "$size: a subcluster that is there"
	detach q
	clean "$LOOP"
done
ok "a write of 4 KiB writes one subcluster at most"

create -o extended_l2=on,cluster_size=64k -b base.raw -F raw a.qcow2 1M
qemu-io -f qcow2 -c 'write -P 1 0 64k' -c 'write -P 2 70k 6k' -c 'write -c -P 3 192k 64k' -c 'write -P 4 256k 192k' \
	-c 'write -P 5 450k 9k' -c 'write -P 6 576k 64k' -c 'write -c -P 7 640k 64k' a.qcow2 >/dev/null
cp a.qcow2 b.qcow2
qemu-io -f qcow2 -c 'write -z -u 0 64k' -c 'write -z 256k 64k' -c 'write -z -u 72k 2k' -c 'write -z -u 134k 10k' \
	-c 'write -z -u 194k 4k' -c 'discard 320k 64k' -c 'discard 704k 64k' -c 'write -z 768k 64k' -c 'write -z 580k 8k' \
	-c 'write -s base.raw 136k 4k' -c 'write -s base.raw 270k 4k' -c 'write -s base.raw 8k 4k' -c 'write -s base.raw 400k 4k' \
	-c 'write -s base.raw 480k 4k' -c 'write -s base.raw 582k 512' -c 'discard 640k 64k' b.qcow2 >/dev/null
attach q a.qcow2 -b raw:base.raw
put() { dd if=base.raw of=/dev/mapper/q bs=512 seek=$(($1 * 2)) count="$2" oflag=direct conv=notrunc status=none; }
zero() { fallocate "$1" -o "$2k" -l "$3k" /dev/mapper/q; }
gone() { blkdiscard -o "$1k" -l 64k /dev/mapper/q; }
zero -p 0 64
zero -z 256 64
zero -p 72 2
zero -p 134 10
zero -p 194 4
gone 320
gone 704
zero -z 768 64
zero -z 580 8
put 136 8
put 270 8
put 8 8
put 400 8
put 480 8
put 582 1
gone 640
detach q
clean a.qcow2
subcluster.py bits b.qcow2 >expected
subcluster.py bits a.qcow2 >found
out=$(diff expected found) || fail "QEMU's bits and ours: $out"
qemu-img convert -f qcow2 -O raw b.qcow2 b.raw
same a.qcow2 b.raw
ok "the same bits as QEMU sets"

truncate -s 8M coarse.raw
LOOP=$(losetup -f --show -b 4096 coarse.raw)
LOOPS+=("$LOOP")
create -o extended_l2=on,cluster_size=64k "$LOOP" 4M
refused "Operation not supported" "subclusters are smaller than a block" \
	dmsetup create bad --table "0 8192 qcow2 1 qcow2 $LOOP"
create -o extended_l2=on,cluster_size=128k "$LOOP" 4M
truncate -s 4M model.raw
SECTORS=8192 attach q "$LOOP"
exercise q model.raw 4 60
detach q
same "$LOOP" model.raw
ok "blocks of 4 KiB below"
