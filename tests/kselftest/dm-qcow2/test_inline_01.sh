#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A mapped read on ext4 is one lower bio, issued by the submitter itself, and nothing is copied; hop always
# leaves it to a lane.

# shellcheck source=tests/kselftest/dm-qcow2/trace.sh
. "$(dirname "$0")/trace.sh"

scratch ext4
create a.qcow2 8M
qemu-io -f qcow2 -c 'write -P 5 0 4M' a.qcow2 >/dev/null
trace dm_qcow2/qcow2_inline dm_qcow2/qcow2_lane dm_qcow2/qcow2_copy
echo "dev == $((1 << 20))" >$TRACING/events/block/block_bio_queue/filter
trace block/block_bio_queue
trace_reads() {
	trace_forget
	dd if=/dev/mapper/q of=/dev/null bs=4k count=1 skip="$1" iflag=direct status=none &
	reader=$!
	wait $reader
}
attach q a.qcow2
trace_reads 1
trace_reads 2
want "no read from the submitter's context" traced "-$reader .*qcow2_inline: goff 0x2000 "
bios=$(grep -c "block_bio_queue: 1,0 R" $TRACING/trace)
[ "$bios" = 1 ] || fail "$bios lower bios: $(grep block_bio_queue $TRACING/trace)"
want "the bio is somebody else's" traced "-$reader .*block_bio_queue: 1,0 R.* \+ 8 "
traced qcow2_copy: && fail "data was copied"
traced qcow2_lane: && fail "a lane was used"
detach q
ok "hop auto"
attach q a.qcow2 hop always
trace_reads 3
trace_reads 4
want "no read by a lane" traced "qcow2_lane: goff 0x4000 "
traced qcow2_inline: && fail "issued inline"
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
trace_forget
dd if=/dev/mapper/q of=copied bs=4k count=2 iflag=direct status=none
want "the copy is not traced" traced "qcow2_copy: .* read"
want "content" cmp copied <(head -c 512 /dev/zero; head -c 1024 /dev/zero | tr '\0' '\6'; head -c 2560 /dev/zero; head -c 4096 /dev/zero | tr '\0' '\7')
detach q
umount mount4k
ok "what does not suit direct I/O is copied"
untrace dm_qcow2 block/block_bio_queue
