#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# An image is a file of a file system some of whose sectors fail: who asks for these gets the error, by the inline path as by
# the lane, and nobody else does; when they are mended, all is well.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
ramdisk 1 64
dmsetup create low --table "0 131072 linear /dev/ram1 0"
DEVICES=(low)
mkfs.ext4 -qF -b 4096 /dev/mapper/low
mkdir low
mount /dev/mapper/low low
MOUNTS+=("$DIR/low")
image=low/a.qcow2
create $image 8M
qemu-io -f qcow2 -c 'write -P 7 0 2M' $image >/dev/null
sync -f $image

# block HOFF: the block of the file system where this byte of the image lies.
block() { debugfs -R "bmap /a.qcow2 $(($1 / 4096))" /dev/mapper/low 2>/dev/null; }
# hoff WORD...: where the image has a cluster of the guest, or a table.
hoff() {
	python3 - "$image" "$@" <<'PY'
import struct, sys
with open(sys.argv[1], "rb") as image:
    def word(at):
        image.seek(at)
        return struct.unpack(">Q", image.read(8))[0] & (1 << 56) - 512
    table = word(word(40))
    print(table if sys.argv[2] == "l2" else word(table + int(sys.argv[2]) * 8))
PY
}
below() {
	dmsetup load low
	dmsetup suspend --nolockfs low
	dmsetup resume low
}
# broken BLOCK: its eight sectors fail.
broken() {
	local at=$(($1 * 8))
	printf '%s\n' "0 $at linear /dev/ram1 0" "$at 8 error" \
		"$((at + 8)) $((131072 - at - 8)) linear /dev/ram1 $((at + 8))" | below
}
mended() { echo "0 131072 linear /dev/ram1 0" | below; }
# reads BLOCK, writes BLOCK: 4 KiB of the disk.
reads() { dd if=/dev/mapper/q bs=4k skip="$1" count=1 iflag=direct status=none 2>>said; }
writes() { head -c 4096 /dev/zero | tr '\0' '\11' | dd of=/dev/mapper/q bs=4k seek="$1" count=1 oflag=direct iflag=fullblock status=none 2>>said; }
filled() { head -c 4096 /dev/zero | tr '\0' "$1"; }
# fails COMMAND...: with EIO.
fails() {
	: >said
	"$@" >/dev/null && fail "$*: no error"
	grep -q "Input/output error" said || fail "$*: $(<said)"
}

data=$(block "$(($(hoff 2) + 8192))")	# of the third cluster its third block
table=$(block "$(hoff l2)")
for hop in auto always; do
	attach q $image hop $hop
	want "hop $hop: content" cmp <(reads 34) <(filled '\7')
	broken "$data"
	fails reads 34
	fails writes 34
	want "hop $hop: beside it" cmp <(reads 35) <(filled '\7')
	writes 35 || fail "hop $hop: a write beside it: $(<said)"
	# A new cluster, and a flush, as if nothing had happened.
	writes 1024 || fail "hop $hop: a new cluster: $(<said)"
	sync /dev/mapper/q || fail "hop $hop: flush"
	is q mode rw
	want "hop $hop: two errors are counted" [ "$(field q ioerrs)" -ge 2 ]
	mended
	writes 34 || fail "hop $hop: mended, a write: $(<said)"
	for at in 34 35 1024; do
		want "hop $hop: mended, block $at" cmp <(reads $at) <(filled '\11')
	done
	want "hop $hop: the rest" cmp <(reads 36) <(filled '\7')
	detach q
	clean $image

	# The table of the mapping, which is not in memory yet.
	broken "$table"
	attach q $image hop $hop
	fails reads 34
	fails writes 34
	is q mode rw
	mended
	want "hop $hop: mended, the table" cmp <(reads 34) <(filled '\11')
	qemu-io -f raw -c 'write -P 7 128k 64k' /dev/mapper/q >/dev/null
	detach q
	clean $image
	ok "hop $hop"
done
