#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# 2 TiB of data and a write more: the counts of what lies behind need a block that is not there yet.
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# full PATH BITS DISK-SIZE: clusters of 2 MiB, all counts that the refcount structures can hold are in use, and
# nearly all of them for data. Sparse: it is some MiB.
full() {
	python3 - "$@" <<'PY'
import struct, sys
path, bits, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
CLUSTER, ENTRIES = 2 << 20, 1 << 18
COUNTS = CLUSTER * 8 // bits
COPIED = 1 << 63
blocks = 1 if bits == 16 else 4
total = blocks * COUNTS
tables = -(-(total - 3 - blocks) // (ENTRIES + 1))
data = total - 3 - blocks - tables
with open(path, "wb") as file:
    file.write(struct.pack(">IIQIIQIIQQIIQQQQIIB7x", 0x514649FB, 3, 0, 0, 21, size, 0, -(-size // (CLUSTER * ENTRIES)),
                           2 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, bits.bit_length() - 1, 112, 0))
    file.seek(CLUSTER)
    file.write(b"".join(struct.pack(">Q", (3 + nr) * CLUSTER) for nr in range(blocks)))
    file.seek(2 * CLUSTER)
    file.write(b"".join(struct.pack(">Q", (3 + blocks + nr) * CLUSTER | COPIED) for nr in range(tables)))
    file.seek(3 * CLUSTER)
    file.write((1).to_bytes(bits // 8, "big") * total)
    first = 3 + blocks + tables
    file.seek((3 + blocks) * CLUSTER)
    file.write(b"".join(struct.pack(">Q", (first + nr) * CLUSTER | COPIED) for nr in range(data)))
    file.truncate(total * CLUSTER)
print(data * CLUSTER, total * CLUSTER)
PY
}

scratch ext4
for bits in 16 ${QCOW2_FULL:+64}; do
	read -r end file_end < <(full a.qcow2 "$bits" $((3 << 40)))
	clean a.qcow2
	attach q a.qcow2
	soon q highest "$file_end"
	# The last mapped cluster, the first that is not, and one far away.
	python3 - "$end" <<'PY'
import mmap, os, sys
end = int(sys.argv[1])
fd = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
data = mmap.mmap(-1, 65536)
for place, byte in (end - 65536, 1), (end, 2), ((3 << 40) - 65536, 3):
    data[:] = bytes([byte]) * 65536
    os.pwritev(fd, [data], place)
os.fsync(fd)
for place, byte in (end - 65536, 1), (end, 2), (end + 65536, 0), ((3 << 40) - 65536, 3):
    os.preadv(fd, [data], place)
    assert set(data[:]) == {byte}, (place, data[0])
PY
	is q allocs 2
	[ "$(field q highest)" -gt "$file_end" ] || fail "nothing was allocated behind $file_end"
	detach q
	clean a.qcow2
	out=$(qemu-io -f qcow2 -c "read -P 1 $((end - 65536)) 64k" -c "read -P 2 $end 64k" \
		-c "read -P 3 $(((3 << 40) - 65536)) 64k" a.qcow2) || fail "$out"
	[[ $out != *failed* ]] || fail "QEMU reads: $out"
	ok "counts of $bits bits: $((file_end >> 30)) GiB in use, and more"
	rm a.qcow2
done
