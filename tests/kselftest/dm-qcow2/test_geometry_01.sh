#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The largest disks of small and large clusters, L1 tables of many clusters, a disk of no size, small clusters on large
# blocks, requests of many GiB, and many tables with a cache for few of them.
# timeout=200

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# ends DEVICE BYTES SEED write|read: a few sectors here and there up to the very end of a disk.
ends() {
	python3 - "$@" <<'PY'
import os, random, sys, mmap
name, size, seed, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
chance, page = random.Random(seed), mmap.mmap(-1, 8192)
fd = os.open(name, (os.O_RDWR if how == "write" else os.O_RDONLY) | os.O_DIRECT)
places = {0: 1, size - 4096: 2, size // 2: 3, size // 2 - 4096: 4}
for number in range(5, 25):
    places[chance.randrange(size // 8192) * 8192] = number
for place, number in places.items():
    if how == "write":
        page[:4096] = bytes((number,)) * 4096
        assert os.pwritev(fd, [memoryview(page)[:4096]], place) == 4096
for place, number in places.items():
    assert os.preadv(fd, [memoryview(page)[:4096]], place) == 4096
    assert page[:4096] == bytes((number,)) * 4096, (hex(place), number, page[:4])
PY
}

# disk NAME OPTIONS BYTES
disk() {
	create -o "$2" a.qcow2 "$3"
	attach q a.qcow2
	ends /dev/mapper/q "$3" 7 write || fail "$1"
	is q mode rw
	is q virtual "$3"
	detach q
	clean a.qcow2
	attach_ro q a.qcow2
	ends /dev/mapper/q "$3" 7 read || fail "$1, attached again"
	detach q
	rm a.qcow2
	ok "$1"
}

scratch ext4 500
disk "64 TiB, clusters of 64 KiB" cluster_size=64k $((64 << 40))
disk "64 TiB, extended L2" extended_l2=on,cluster_size=64k $((64 << 40))
disk "1 PiB, clusters of 2 MiB" cluster_size=2M $((1 << 50))
bits=34
[ -z "${QCOW2_FULL:-}" ] || bits=37
disk "an L1 table of $((1 << (bits - 32))) MiB" cluster_size=512 $((1 << bits))

create -o cluster_size=64k,preallocation=off a.qcow2 8T
attach q a.qcow2
want "written" dd if=/dev/urandom of=/dev/mapper/q bs=64k count=3 seek=1 oflag=direct status=none
blkdiscard -o 0 -l $((5 << 30)) /dev/mapper/q
blkdiscard -z -o $((1 << 40)) -l $((5 << 30)) /dev/mapper/q
fallocate -z -o $((2 << 40)) -l $((3 << 30)) /dev/mapper/q
want "something is left" cmp -n 1048576 /dev/mapper/q /dev/zero
want "zeros" cmp -n 65536 -i $(((1 << 40) + (4 << 30))):0 /dev/mapper/q /dev/zero
is q mode rw
detach q
clean a.qcow2
ok "discards and zeroes of many GiB"

create a.qcow2 0
for how in attach attach_ro; do
	if SECTORS=1 $how q a.qcow2 2>/dev/null; then fail "a disk of no size has a sector"; fi
done
ok "a disk of no size"

truncate -s 64M coarse.raw
loop coarse.raw -b 4096
create -o cluster_size=512 "$LOOP" 4M
SECTORS=8192 refused "Operation not supported" "clusters are smaller than a block" attach q "$LOOP"
create -o cluster_size=4k "$LOOP" 4M
truncate -s 4M model.raw
SECTORS=8192 attach q "$LOOP"
exercise q model.raw 5 60
detach q
same "$LOOP" model.raw
ok "blocks of 4 KiB below"

# 256 tables, a cache for some: reads and writes of several threads push each other's tables out.
create -o cluster_size=512 a.qcow2 8M
rm model.raw
truncate -s 8M model.raw
attach q a.qcow2 cache_kib 64 commit_ms 50
exercise q model.raw 6 300 -t 8 -m 8
is q mode rw
detach q
clean a.qcow2
same a.qcow2 model.raw
ok "many tables, a small cache"
