#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# All widths of reference counts; with small clusters the refcount table grows many times.
# cpus=2
# timeout=200
# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
for bits in $(some 1 2 4 8 16 32 64); do
	create -o "cluster_size=512,refcount_bits=$bits" a.qcow2 8M
	truncate -s 8M model.raw
	attach q a.qcow2
	exercise q model.raw "$bits" 150
	detach q
	clean a.qcow2
	same a.qcow2 model.raw
	ok "refcount_bits $bits"
	rm a.qcow2 model.raw
done

# A block device has its whole length from the beginning, so the end says nothing about what is in use.
ramdisk 1 64
create -o cluster_size=512,refcount_bits=64 /dev/ram1 8M
table_at() { od -An -tu8 --endian=big -j 48 -N 8 /dev/ram1; }
before=$(table_at)
truncate -s 8M model.raw
attach q /dev/ram1
exercise q model.raw 64 150 -d
detach q
clean /dev/ram1
same /dev/ram1 model.raw
want "the refcount table has not moved" [ "$(table_at)" != "$before" ]
ok "a block device"
