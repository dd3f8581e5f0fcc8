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
for bits in 1 2 4 8 16 32 64; do
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

# A table of another kind lies where the refcount table would grow to, which no count tells: it stays.
create -o cluster_size=512,refcount_bits=64 /dev/ram1 1M
python3 - <<'PY'
import struct
with open("/dev/ram1", "r+b") as disk:
    def put(at, *words):
        disk.seek(at)
        disk.write(struct.pack(">%dQ" % len(words), *words))
    header = disk.read(104)
    l1, table = struct.unpack(">Q", header[40:48])[0], struct.unpack(">Q", header[48:56])[0]
    assert struct.unpack(">I", header[56:60])[0] == 1, "the refcount table has more than one cluster"
    put(table, *range(1000 * 512, 1064 * 512, 512))
    put(1000 * 512, *[1] * 64 * 64)
    put(l1, 2 << 20 | 1 << 63)
    put(2 << 20, *(2048 + entry << 9 | 1 << 63 for entry in range(64)))
PY
there() { dd if=/dev/ram1 bs=512 skip=4096 count=1 iflag=direct status=none; }
there >before
attach q /dev/ram1
events=$(dmsetup info -c --noheadings -o events q)
! dd if=/dev/zero of=/dev/mapper/q bs=512 seek=80 count=1 oflag=direct status=none 2>/dev/null || fail "a cluster from where a table lies"
is q mode ro
want "no event" [ "$(dmsetup info -c --noheadings -o events q)" -gt "$events" ]
detach q
want "the table was hit" cmp before <(there)
want "the image is not marked" [ "$(od -An -tu1 -j 79 -N 1 /dev/ram1 | tr -d ' ')" = 2 ]
ok "a table where the refcount table would grow to"
