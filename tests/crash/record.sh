#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: run every workload on an image on a block device, over dm-log-writes.
#
# Each has a disk of its own for the log (VM_DISKS); medium and journal go to VM_OUT.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$(readlink -f "$0")")/../kselftest/dm-qcow2/lib.sh"

CRASH=$TREE/tests/crash
operations=${QCOW2_FULL:+4000}
operations=${operations:-600}
read -ra logs <<<"$VM_DISKS"
scratch ext4
need_module dm-log-writes
ramdisk 1 64
create base.qcow2 16M
# The base has numbers that no write has.
qemu-io -c 'write -P 187 0 12M' base.qcow2 >/dev/null
cp base.qcow2 "$VM_OUT/base.qcow2"

# record NAME KINDS CLUSTER CREATE-OPTIONS...: one workload.
record() {
	local name=$1 kinds=$2 cluster=$3 log=${logs[0]} worker
	local -a below=()
	shift 3
	logs=("${logs[@]:1}")
	[ "$name" != cow ] || below=(-b "qcow2:$DIR/base.qcow2")
	dmsetup create medium --table "0 98304 linear /dev/ram1 0"
	# What is not written is poison, so that it shows.
	head -c 48M /dev/zero | tr '\0' '\245' | dd of=/dev/mapper/medium bs=1M iflag=fullblock oflag=direct status=none
	create -o "cluster_size=$cluster" "$@" /dev/mapper/medium 16M
	if [ "$name" = snapshot ]; then
		qemu-io -f qcow2 -c 'write -P 0 0 8M' /dev/mapper/medium >/dev/null
		qemu-img snapshot -c before /dev/mapper/medium
	fi
	sync
	dd if=/dev/mapper/medium of="$VM_OUT/$name.medium" bs=1M iflag=direct status=none
	dmsetup create logged --table "0 98304 log-writes /dev/mapper/medium $log"
	DEVICES+=(medium logged)
	attach q /dev/mapper/logged "${below[@]}" commit_ms 100
	python3 "$CRASH/workload.py" /dev/mapper/q logged "$VM_OUT/$name.journal" "$name" "$operations" "$cluster" "$kinds" &
	worker=$!
	if [ "$name" = suspend ]; then
		while kill -0 $worker 2>/dev/null; do
			dmsetup suspend q
			dmsetup resume q
			sleep 0.2
		done
	fi
	wait $worker || fail "$name: the workload failed"
	detach q
	dmsetup remove --retry logged
	dmsetup remove --retry medium
	blockdev --flushbufs "$log"
	ok "$name"
}

record allocate www 65536
record cow www 65536 -u -b "$DIR/base.qcow2" -F qcow2
record snapshot www 4096
record mixed wwwzd 4096
record growth wwwd 512 -o refcount_bits=64
record suspend wwz 4096
