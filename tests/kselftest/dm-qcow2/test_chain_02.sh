#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A chain of four layers, of as many as a table takes, and of one more; nothing but the top is ever written.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
head -c 6000128 /dev/urandom >l3.raw
create -b l3.raw -F raw -o cluster_size=4k l2.qcow2 9M
qemu-io -f qcow2 -c 'write -P 2 2M 1M' l2.qcow2 >/dev/null
create -b l2.qcow2 -F qcow2 -o cluster_size=64k,compat=0.10 l1.qcow2 7M
qemu-io -f qcow2 -c 'write -P 1 2500k 1M' l1.qcow2 >/dev/null
create -b l1.qcow2 -F qcow2 -o cluster_size=16k a.qcow2 10M
qemu-img convert -f qcow2 -O raw a.qcow2 model.raw
md5sum l3.raw l2.qcow2 l1.qcow2 >sums
attach q a.qcow2 -b qcow2:l1.qcow2 -b qcow2:l2.qcow2 -b raw:l3.raw
is q layers 4
want "content differs" cmp model.raw /dev/mapper/q
exercise q model.raw 8 100
detach q
clean a.qcow2
same a.qcow2 model.raw
want "a lower layer was written" md5sum --quiet -c sums
ok "four layers"
rm ./*.raw ./*.qcow2

# Each layer has a cluster of its own, over some of those below; sizes of clusters and versions take turns.
python3 - <<'PY'
import struct
size = 4 << 20
model = bytearray(size)
for n in range(256):
    bits, version = (9, 12, 16)[n % 3], 2 + n % 2
    cluster = 1 << bits
    entries = cluster // 8
    tables = -(-size // (entries * cluster))
    l2 = 3 + -(-tables * 8 // cluster)
    goff = n * 12288 // cluster * cluster
    name = f"l{n - 1}".encode() if n else b""
    with open(f"l{n}", "wb") as image:
        image.write(struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, 120 if n else 0, len(name), bits, size, 0,
                                tables, 3 * cluster, cluster, 1, 0, 0))
        if version == 3:
            image.write(struct.pack(">QQQII", 0, 0, 0, 4, 104))
        image.seek(120)
        image.write(name)
        image.seek(cluster)
        image.write(struct.pack(">Q", 2 * cluster))
        image.seek(2 * cluster)
        image.write(b"\0\1" * (l2 + 2))
        image.seek(3 * cluster + goff // (entries * cluster) * 8)
        image.write(struct.pack(">Q", l2 * cluster | 1 << 63))
        image.seek(l2 * cluster + goff // cluster % entries * 8)
        image.write(struct.pack(">Q", (l2 + 1) * cluster | 1 << 63))
        image.seek((l2 + 1) * cluster)
        image.write(bytes([n % 255 + 1]) * cluster)
    model[goff:goff + cluster] = bytes([n % 255 + 1]) * cluster
with open("model.raw", "wb") as file:
    file.write(model)
PY
below=()
for ((at = 254; at >= 0; at--)); do below+=(-b "qcow2:l$at"); done
md5sum l[0-9] l1* l2[0-4]* >sums
attach q l255 "${below[@]}"
is q layers 256
want "content differs" cmp model.raw /dev/mapper/q
exercise q model.raw 8 30
detach q
clean l255
same l255 model.raw
want "a lower layer was written" md5sum --quiet -c sums

# The cache holds few of these tables: each lookup evicts them all, and what is evicted is not free at once.
attach q l255 "${below[@]}" cache_kib 64
memory() { awk '$1 == "SUnreclaim:" { print $2 }' /proc/meminfo; }
before=$(memory) most=0
for at in 0 4 8 12; do dd if=/dev/mapper/q of=read.raw bs=4k count=4 skip=$at seek=$at iflag=direct conv=notrunc status=none & done
while [ -n "$(jobs -r)" ]; do
	now=$(memory)
	[ "$now" -lt "$most" ] || most=$now
	sleep 0.2
done
wait
say "$(field q misses) tables read, $((most - before)) KiB of slabs more"
want "they were not evicted" [ "$(field q misses)" -gt 10000 ]
want "$((most - before)) KiB of slabs more" [ $((most - before)) -lt 8192 ]
want "content, by a small cache" cmp -n 65536 model.raw read.raw
detach q
refused "Invalid argument" "number of layers is not 1 to 256" attach q l255 "${below[@]}" -b qcow2:l0
ok "256 layers, and not one more"
