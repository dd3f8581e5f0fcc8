#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The tracepoints of an image on a block device: a mapped read is one remap and one lower bio of the submitter, a write
# tells its table, its mapping and its commit.

# shellcheck source=tests/kselftest/dm-qcow2/trace.sh
. "$(dirname "$0")/trace.sh"

scratch ext4
ramdisk 1 64
create -o cluster_size=64k /dev/ram1 32M
qemu-io -f qcow2 -c 'write -P 5 0 4M' /dev/ram1 >/dev/null
attach q /dev/ram1
trace dm_qcow2
echo "dev == $((1 << 20 | 1))" >"$TRACING"/events/block/block_bio_queue/filter
trace block/block_bio_queue
# lines PATTERN: how many there are.
lines() { grep -cE -- "$1" "$TRACING"/trace || true; }
# transfer DD-WORDS...: by a process of its own, whose id is in WHO.
transfer() {
	trace_forget
	dd "$@" status=none &
	WHO=$!
	wait $WHO
}
# once PATTERN: exactly one line has it.
once() { [ "$(lines "$1")" = 1 ] || fail "$(lines "$1") times '$1': $(cat "$TRACING"/trace)"; }

# The first read may read the table.
transfer if=/dev/mapper/q of=first bs=4k count=1 skip=1 iflag=direct
transfer if=/dev/mapper/q of=second bs=4k count=1 skip=2 iflag=direct
want "content" cmp second <(head -c 4096 /dev/zero | tr '\0' '\5')
number=$(cat /sys/block/dm-*/dev)
once "-$WHO .*qcow2_map: $number op 0 goff 0x2000 len 4096$"
once "qcow2_map:"
once "-$WHO .*qcow2_remap: goff 0x2000 hoff 0x[0-9a-f]+ len 4096 read$"
once "qcow2_remap:"
once "-$WHO .*block_bio_queue: 1,1 R.* \+ 8 "
once "block_bio_queue:"
for event in inline lane copy inflate stage table commit_write; do
	traced "qcow2_$event:" && fail "qcow2_$event: $(cat "$TRACING"/trace)"
done
ok "a mapped read"

# 32 MiB have one table; a new cluster has a mapping, and both come with the next commit.
transfer if=/dev/urandom of=/dev/mapper/q bs=64k count=1 seek=80 oflag=direct conv=notrunc
once "qcow2_map: $number op 1 goff 0x500000 len 65536$"
once "qcow2_stage: goff 0x500000 hoff 0x[1-9a-f][0-9a-f]*0000 commit [0-9]+$"
traced "qcow2_commit_write:" && fail "a write without a flush commits: $(cat "$TRACING"/trace)"
staged=$(sed -n 's/.*qcow2_stage:.*commit //p' "$TRACING"/trace)
sync /dev/mapper/q
once "qcow2_commit_write: commit $staged( growth)?( counts)? mapping$"
detach q
clean /dev/ram1
ok "a write and its commit"

# A table is made for a part of the disk that had none: one of 4 KiB maps 2 MiB.
trace_forget
create -o cluster_size=4k /dev/ram1 32M
attach q /dev/ram1
transfer if=/dev/urandom of=/dev/mapper/q bs=4k count=1 seek=1024 oflag=direct conv=notrunc
once "qcow2_table: goff 0x400000 old 0x0 new 0x[1-9a-f][0-9a-f]*000 commit [0-9]+$"
once "qcow2_stage: goff 0x400000 hoff 0x[1-9a-f][0-9a-f]*000 commit [0-9]+$"
sync /dev/mapper/q
once "qcow2_commit_write: commit [0-9]+( growth)? counts mapping$"
detach q
clean /dev/ram1
untrace dm_qcow2 block/block_bio_queue
ok "a new table"
