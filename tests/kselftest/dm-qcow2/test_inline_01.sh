#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A mapped read on ext4 is one lower bio, issued by the submitter itself, and nothing is copied; hop always
# leaves it to a lane.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
create a.qcow2 8M
qemu-io -f qcow2 -c 'write -P 5 0 4M' a.qcow2 >/dev/null
cd /sys/kernel/tracing
echo 1 >events/dm_qcow2/qcow2_inline/enable
echo 1 >events/dm_qcow2/qcow2_lane/enable
echo 1 >events/dm_qcow2/qcow2_copy/enable
echo "dev == $((1 << 20))" >events/block/block_bio_queue/filter
echo 1 >events/block/block_bio_queue/enable
cd "$DIR"
trace_reads() {
	echo >/sys/kernel/tracing/trace
	dd if=/dev/mapper/q of=/dev/null bs=4k count=1 skip="$1" iflag=direct status=none &
	reader=$!
	wait $reader
}
attach q a.qcow2
trace_reads 1
trace_reads 2
want "no read from the submitter's context" grep -qE -- "-$reader .*qcow2_inline: goff 0x2000 " /sys/kernel/tracing/trace
bios=$(grep -c "block_bio_queue: 1,0 R" /sys/kernel/tracing/trace)
[ "$bios" = 1 ] || fail "$bios lower bios: $(grep block_bio_queue /sys/kernel/tracing/trace)"
want "the bio is somebody else's" grep -qE -- "-$reader .*block_bio_queue: 1,0 R.* \+ 8 " /sys/kernel/tracing/trace
grep -q qcow2_copy: /sys/kernel/tracing/trace && fail "data was copied"
grep -q qcow2_lane: /sys/kernel/tracing/trace && fail "a lane was used"
detach q
ok "hop auto"
attach q a.qcow2 hop always
trace_reads 3
trace_reads 4
want "no read by a lane" grep -q "qcow2_lane: goff 0x4000 " /sys/kernel/tracing/trace
grep -q qcow2_inline: /sys/kernel/tracing/trace && fail "issued inline"
detach q
ok "hop always"
# What cannot be done in place is copied, and told: clusters smaller than a sector of the disk below.
truncate -s 64M disk4k.raw
modprobe loop
LOOP=$(losetup -f --show --sector-size 4096 --direct-io=on disk4k.raw)
LOOPS+=("$LOOP")
create -o cluster_size=512 small.qcow2 1M
qemu-io -f qcow2 -c 'write -P 6 512 1k' -c 'write -P 7 4k 64k' small.qcow2 >/dev/null
mkfs.ext4 -q -F "$LOOP"
mkdir mount4k
mount "$LOOP" mount4k
MOUNTS+=("$DIR/mount4k")
cp small.qcow2 mount4k/
attach_ro q mount4k/small.qcow2
echo >/sys/kernel/tracing/trace
dd if=/dev/mapper/q of=copied bs=4k count=2 iflag=direct status=none
want "the copy is not traced" grep -q "qcow2_copy: .* read" /sys/kernel/tracing/trace
want "content" cmp copied <(head -c 512 /dev/zero; head -c 1024 /dev/zero | tr '\0' '\6'; head -c 2560 /dev/zero; head -c 4096 /dev/zero | tr '\0' '\7')
detach q
umount mount4k
ok "what does not suit direct I/O is copied"
echo 0 >/sys/kernel/tracing/events/dm_qcow2/enable
echo 0 >/sys/kernel/tracing/events/block/block_bio_queue/enable
