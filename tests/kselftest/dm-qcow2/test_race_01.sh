#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# All that may be done to a device at the same time: requests that meet in the same clusters, of which there are few,
# status, table, messages, suspends. On the kernel that looks for data races this is the test that makes them.
# cpus=2
# timeout=100

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

seconds=${QCOW2_FULL:+6}5

# raced TITLE IMAGE [AS TABLE...]
raced() {
	local title=$1 image=$2
	shift 2
	attach q "$image" "$@" cache_kib 64 commit_ms 2000
	want "$title, still" python3 "$HERE/races.py" q "$seconds" still
	want "$title" python3 "$HERE/races.py" q "$seconds"
	say "$(dmsetup status q)"
	is q mode rw
	is q corruptions 0
	is q ioerrs 0
	detach q
	clean "$image"
	ok "$title"
}

scratch ext4
create base.qcow2 16M
qemu-io -c 'write -P 5 0 4M' base.qcow2 >/dev/null
create -o cluster_size=4k -b base.qcow2 -F qcow2 a.qcow2
qemu-img snapshot -c before a.qcow2
raced "a file with a base and a snapshot" a.qcow2 -b qcow2:base.qcow2
create -o extended_l2=on,cluster_size=64k b.qcow2 16M
raced "a file with subclusters" b.qcow2
ramdisk 1 64
create -o cluster_size=512,refcount_bits=64 /dev/ram1 16M
raced "a RAM disk" /dev/ram1
