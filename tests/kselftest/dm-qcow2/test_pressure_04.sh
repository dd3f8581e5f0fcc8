#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# No allocation of our module succeeds any more, of pages or of objects, and its cache has a quarter of the metadata: with
# what is in reserve every read, write and discard comes to an end, and a good one.
# cpus=2
# timeout=200
# series=debug

# shellcheck source=tests/kselftest/dm-qcow2/starve.sh
. "$(dirname "$0")/starve.sh"

seconds=10
[ -z "${QCOW2_FULL:-}" ] || seconds=100
load_target
mkdir -p "$DIR"
mount -t tmpfs tmpfs "$DIR"
cd "$DIR"

# full N: /dev/ramN with all of its pages, of which no request has to allocate one.
full() {
	ramdisk "$1" 40
	dd if=/dev/zero of="/dev/ram$1" bs=1M count=40 oflag=direct status=none
}

# work TITLE SEED [as table]: random requests of four threads.
work() {
	local title=$1 seed=$2
	shift 2
	# A RAM disk would have to allocate again what it gives back.
	attach q "$@" cache_kib 64 commit_ms 100 discard keep
	# Room among the clusters that are counted: a new refcount block has a buffer of its own.
	blkdiscard -l 2M /dev/mapper/q
	dmsetup suspend q	# after that they are free
	dmsetup resume q
	timeout 90 python3 "$HERE/pressure.py" /dev/mapper/q $seconds "$seed" content.raw each ||
		fail "$title: $(dmsetup status q)"
	say "$(dmsetup status q)"
	is q mode rw
	is q corruptions 0
	is q ioerrs 0
	detach q
	clean "$1"
	same "$1" content.raw
	ok "$title"
}

# A slice of an L2 table maps 32 KiB, one of counts 32 KiB.
full 1
qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=64,preallocation=metadata /dev/ram1 6M
work "one image" 1 /dev/ram1
full 2
qemu-img create -q -f qcow2 -o cluster_size=512,preallocation=metadata /dev/ram2 6M
create -o cluster_size=512,refcount_bits=64 -b /dev/ram2 -F qcow2 /dev/ram1 6M
# Each L2 table is there.
python3 - >commands <<'PY'
for at in range(0, 6 << 20, 32 << 10):
    print(f"write -P 0 {at} 512")
for at in range(0, 2 << 20, 1 << 20):
    print(f"write -P 0 {at} 1M")
PY
qemu-io /dev/ram1 <commands >/dev/null
work "an image over another" 2 /dev/ram1 -b qcow2:/dev/ram2
