#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The cluster sizes that read_01 and write_01 have not, versions by turns: what QEMU wrote is read, what the device
# writes is what QEMU reads.
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
compat=1.1
for size in 1k 2k 8k 16k 32k 128k 256k 512k 2M; do
	[ $compat = 1.1 ] && compat=0.10 || compat=1.1
	create -o "cluster_size=$size,compat=$compat" a.qcow2 12M
	qemu-io -f qcow2 -c 'write -P 1 0 64k' -c 'write -P 2 100k 3M' -c 'write -P 3 8M 777k' \
		-c 'write -P 4 12582400 512' a.qcow2 >/dev/null
	qemu-img convert -O raw a.qcow2 model.raw
	attach q a.qcow2
	want "$size $compat: content differs" cmp model.raw /dev/mapper/q
	exercise q model.raw 3 60 -m 300
	detach q
	clean a.qcow2
	same a.qcow2 model.raw
	ok "cluster_size $size compat $compat"
	rm a.qcow2 model.raw
done
