# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# An image in a file of a small file system that fills up, where slices of its metadata have no space. For cases that have
# a scratch filesystem.

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/edit.sh"

# small_store: 96 MiB, at $DIR/small.
small_store() {
	truncate -s 96M small.raw
	mkfs.ext4 -q -F -m 0 small.raw
	mkdir small
	loop small.raw
	mount "$LOOP" small
	MOUNTS+=("$DIR/small")
}

# no_space IMAGE TABLE: four slices of this L2 table, from the eighth on, are holes of small/disk.raw, on which IMAGE is.
no_space() {
	local hoff
	hoff=$(python3 - "$1" "$2" <<'PY'
import struct, sys
with open(sys.argv[1], "rb") as file:
    file.seek(40)
    file.seek(struct.unpack(">Q", file.read(8))[0] + 8 * int(sys.argv[2]))
    print(struct.unpack(">Q", file.read(8))[0] & 0x00fffffffffffe00)
PY
	)
	sync
	fallocate -p -o $((hoff + 8 * 4096)) -l 16384 small/disk.raw
	blockdev --flushbufs "$1"
	sync
}

# fill_store, empty_store: nothing has space there from now on; what is there has again.
fill_store() {
	fallocate -l 96M small/filler 2>/dev/null || true
	dd if=/dev/zero of=small/rest bs=4k status=none 2>/dev/null || true
	sync
}

empty_store() {
	rm -f small/filler small/rest
	sync
}

# flushed: what a flush of q comes to; 124 if to nothing.
flushed() { timeout 60 python3 -c 'import os; os.fsync(os.open("/dev/mapper/q", os.O_RDWR))' 2>/dev/null; }
