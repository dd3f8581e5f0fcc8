#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The image is a block device: plain remap, allocation inside the device, and the end of it.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# turn DEVICE CLUSTER-SIZE MAJOR
turn() {
	qemu-img create -q -f qcow2 -o "cluster_size=$2" "$1" 16M
	truncate -s 16M model.raw
	attach q "$1"
	want "the device is not in deps" grep -q ": ($3, " <(dmsetup deps q)
	exercise q model.raw 3 100
	detach q
	clean "$1"
	same "$1" model.raw
	rm model.raw
}
scratch ext4
truncate -s 64M disk.raw
loop disk.raw
for size in 512 64k; do
	turn "$LOOP" "$size" 7
	ok "cluster_size $size on a device"
done

# Between two neighbours, to whom nothing may happen.
dd if=/dev/urandom of=parts.raw bs=1M count=42 status=none
sfdisk -q parts.raw <<<"$(printf 'start=%s,size=%s\n' 2048 2048 4096 65536 69632 2048)"
cp parts.raw before.raw
LOOP=$(losetup -P -f --show parts.raw)
LOOPS+=("$LOOP")
want "no partition" [ -b "${LOOP}p2" ]
turn "${LOOP}p2" 64k "$((16#$(stat -c %t "${LOOP}p2")))"
sync
want "what lies before the partition" cmp -n $((2 << 20)) parts.raw before.raw
want "what lies behind it" cmp -i $((34 << 20)) parts.raw before.raw
ok "on a partition"
