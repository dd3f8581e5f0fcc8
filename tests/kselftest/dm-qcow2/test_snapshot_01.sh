#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Internal snapshots in the image: shared clusters and tables are copied, never touched.
# cpus=2
# timeout=150
# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
for size in $(halved 512 4k 64k); do
	create -o "cluster_size=$size" a.qcow2 8M
	qemu-io -f qcow2 -c 'write -P 1 0 3M' -c 'write -P 2 5M 1M' -c 'write -z 4M 512k' a.qcow2 >/dev/null
	qemu-img snapshot -c s1 a.qcow2
	qemu-io -f qcow2 -c 'write -P 3 1M 1M' a.qcow2 >/dev/null
	qemu-img snapshot -c s2 a.qcow2
	qemu-img convert -l s1 -O raw a.qcow2 s1.raw
	qemu-img convert -l s2 -O raw a.qcow2 s2.raw
	qemu-img convert -O raw a.qcow2 model.raw
	attach q a.qcow2
	exercise q model.raw 4 100
	detach q
	clean a.qcow2
	same a.qcow2 model.raw
	for snapshot in s1 s2; do
		qemu-img convert -l $snapshot -O raw a.qcow2 now.raw
		want "$size: $snapshot has changed" cmp $snapshot.raw now.raw
	done
	for snapshot in s1 s2; do
		qemu-img snapshot -d $snapshot a.qcow2
	done
	clean a.qcow2
	same a.qcow2 model.raw
	ok "cluster_size $size"
	rm ./*.raw a.qcow2
done
