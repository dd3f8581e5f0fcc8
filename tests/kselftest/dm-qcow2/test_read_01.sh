#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What qemu-io wrote is read back the same, every cluster size and version.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
for size in 512 4k 64k 2M; do
	for compat in 0.10 1.1; do
		create -o "cluster_size=$size,compat=$compat" a.qcow2 24M
		qemu-io -f qcow2 -c 'write -P 1 0 64k' -c 'write -P 2 100k 3M' -c 'write -P 3 16M 777k' \
			-c 'write -P 4 25165312 512' a.qcow2 >/dev/null
		qemu-img convert -O raw a.qcow2 a.raw
		attach q a.qcow2
		want "$size $compat: content differs" cmp a.raw /dev/mapper/q
		detach q
		clean a.qcow2
		ok "cluster_size $size compat $compat"
		rm a.qcow2 a.raw
	done
done
