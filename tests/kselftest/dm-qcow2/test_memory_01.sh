#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The cache is bounded: an image of 8 TiB with 512 KiB of it, read at random over all its L2 tables.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# What the machine has left without its page cache, in KiB, the processors' own lists of free pages included; the best of
# some, the kernel frees late. What has a shrinker, our cache too, keeps what it has.
free_kib() {
	local at best=0 now
	for at in {1..5}; do
		sync
		echo 1 >/proc/sys/vm/drop_caches
		sleep 0.2
		now=$(awk '$1 == "pages" && $2 == "free" { n += $3 } $1 == "count:" { n += $2 } END { print n * 4 }' /proc/zoneinfo)
		[ "$now" -le "$best" ] || best=$now
	done
	echo "$best"
}

scratch ext4
# 4096 L2 tables, each with all its clusters unallocated, spread over the whole disk.
python3 - big.qcow2 <<'PY'
import struct, sys
CLUSTER, TABLES = 65536, 4096
size = 8 << 40
l1_size = size // (CLUSTER * CLUSTER // 8)
first = 3 + l1_size * 8 // CLUSTER
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, size, 0, l1_size, 3 * CLUSTER,
                           CLUSTER, 1, 0, 0, 0, 0, 0, 4, 104))
    file.seek(CLUSTER)
    file.write(struct.pack(">Q", 2 * CLUSTER))
    file.seek(2 * CLUSTER)
    file.write(struct.pack(">H", 1) * (first + TABLES))
    file.seek(3 * CLUSTER)
    for number in range(TABLES):
        file.write(struct.pack(">Q", (first + number) * CLUSTER | 1 << 63) + bytes(8 * (l1_size // TABLES - 1)))
    file.truncate((first + TABLES) * CLUSTER)
PY
clean big.qcow2
# reads COUNT: at random, all over the tables.
reads() {
	python3 - "$1" <<'PY'
import mmap, os, random, sys
fd = os.open("/dev/mapper/q", os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, 4096)
random.seed(7)
for _ in range(int(sys.argv[1])):
    table, cluster = random.randrange(4096), random.randrange(8192)
    os.preadv(fd, [buffer], (table * 4 * 8192 + cluster) * 65536)
PY
}
# Once before, so that modules, slab caches and per-processor lists are there.
attach_ro q big.qcow2 cache_kib 512
reads 600
detach q

# The filesystem lies on a RAM disk, which must not grow meanwhile.
mount -o remount,ro "$DIR"
before=$(free_kib)
attach_ro q big.qcow2 cache_kib 512
reads 6000
used=$(field q cache)
after=$(free_kib)
say "$(dmsetup status q | grep -o 'cache=.*misses=[0-9]*')"
grown=$((before - after))
say "grown by $grown KiB"
want "the reads did not reach the tables" [ "$(field q misses)" -ge 5000 ]
# The L1 table is pinned beside the limit: 128 KiB of it.
want "the cache is larger than its limit: $used" [ "${used%/*}" -le $((512 + 128 + 16)) ]
want "grown by $grown KiB" [ "$grown" -lt 2048 ]
ok "8 TiB with 512 KiB"
detach q
