#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# 2 TiB of data and a write more: the counts of what lies behind need a block that is not there yet. The same where
# the entry of that block lies in a part of the refcount table that has none.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# full PATH CLUSTER-BITS BITS BLOCKS DISK-SIZE: all counts that so many refcount blocks can hold are in use, and
# nearly all of them for data. Sparse: it is some MiB.
full() {
	python3 - "$@" <<'PY'
import array, struct, sys
path, (cluster_bits, bits, blocks, size) = sys.argv[1], map(int, sys.argv[2:])
CLUSTER, ENTRIES = 1 << cluster_bits, 1 << cluster_bits - 3
COUNTS = CLUSTER * 8 // bits
COPIED = 1 << 63
total = blocks * COUNTS
tables = -(-(total - 3 - blocks) // (ENTRIES + 1))
data = total - 3 - blocks - tables
def places(first, number, flags=0):
    words = array.array("Q", range(first * CLUSTER | flags, (first + number) * CLUSTER | flags, CLUSTER))
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()
with open(path, "wb") as file:
    file.write(struct.pack(">IIQIIQIIQQIIQQQQIIB7x", 0x514649FB, 3, 0, 0, cluster_bits, size, 0, -(-size // (CLUSTER * ENTRIES)),
                           2 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, bits.bit_length() - 1, 112, 0))
    file.seek(CLUSTER)
    file.write(places(3, blocks))
    file.seek(2 * CLUSTER)
    file.write(places(3 + blocks, tables, COPIED))
    file.seek(3 * CLUSTER)
    file.write((1).to_bytes(bits // 8, "big") * total)
    first = 3 + blocks + tables
    file.seek((3 + blocks) * CLUSTER)
    file.write(places(first, data, COPIED))
    file.truncate(total * CLUSTER)
print(data * CLUSTER, total * CLUSTER)
PY
}

scratch ext4
for case in "21 16 1 $((3 << 40))" "13 64 512 $((5 << 30))" ${QCOW2_FULL:+"21 64 4 $((3 << 40))"}; do
	read -r shift bits _ size <<<"$case"
	cluster=$((1 << shift))
	# shellcheck disable=SC2086	# numbers
	read -r end file_end < <(full a.qcow2 $case)
	clean a.qcow2
	attach q a.qcow2
	soon q highest "$file_end"
	# The last mapped cluster, the first that is not, and one far away.
	python3 - "$end" "$size" <<'PY'
import mmap, os, sys
end, size = map(int, sys.argv[1:])
fd = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
data = mmap.mmap(-1, 65536)
for place, byte in (end - 65536, 1), (end, 2), (size - 65536, 3):
    data[:] = bytes([byte]) * 65536
    os.pwritev(fd, [data], place)
os.fsync(fd)
for place, byte in (end - 65536, 1), (end, 2), (end + 65536, 0), (size - 65536, 3):
    os.preadv(fd, [data], place)
    assert set(data[:]) == {byte}, (place, data[0])
PY
	[ "$(field q allocs)" = $((2 * (cluster < 65536 ? 65536 / cluster : 1))) ] || fail "allocs: $(field q allocs)"
	[ "$(field q highest)" -gt "$file_end" ] || fail "nothing was allocated behind $file_end"
	detach q
	clean a.qcow2
	out=$(qemu-io -f qcow2 -c "read -P 1 $((end - 65536)) 64k" -c "read -P 2 $end 64k" \
		-c "read -P 3 $((size - 65536)) 64k" a.qcow2) || fail "$out"
	[[ $out != *failed* ]] || fail "QEMU reads: $out"
	ok "counts of $bits bits: $((file_end >> 30)) GiB in use, and more"
	rm a.qcow2
done
