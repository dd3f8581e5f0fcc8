#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The image is a block device: plain remap, allocation inside the device, and the end of it.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
truncate -s 64M disk.raw
loop disk.raw
for size in 512 64k; do
	qemu-img create -q -f qcow2 -o "cluster_size=$size" "$LOOP" 16M
	truncate -s 16M model.raw
	attach q "$LOOP"
	want "the device is not in deps" grep -q ": (7, " <(dmsetup deps q)
	exercise q model.raw 3 100
	detach q
	clean "$LOOP"
	same "$LOOP" model.raw
	ok "cluster_size $size on a device"
	rm model.raw
done
