#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What last= says of images that are damaged.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

last_is() { grep -q "^$1@" <<<"$(field q last)" || fail "last is $(field q last), not $1"; }
read_some() { dd if=/dev/mapper/q of=/dev/null bs=64k skip="$1" count="$2" iflag=direct status=none; }
poke() { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

scratch ext4
# damaged NAME OFFSET-OF-8-BYTES BYTES LAST SENTENCE: what a read or write finds.
create a.qcow2 24M
qemu-io -c "write 0 1M" a.qcow2 >/dev/null
damaged() {
	cp a.qcow2 "$1.qcow2"
	poke "$1.qcow2" "$2" "$3"
	attach q "$1.qcow2"
	soon q corruptions 0
	read_some 0 1 2>/dev/null && fail "$1: a read succeeded"
	soon q corruptions 1
	last_is "$4"
	soon q mode ro
	detach q
	want "$1: no '$5'" grep -q "layer 0: guest offset 0x0: $5" <(dmesg)
	ok "$1: last=$4"
}
# word OFFSET: eight bytes of the image, without the flags of an entry.
word() { od -An -tu1 -j"$1" -N8 a.qcow2 | awk '{ $1 = 0; for (i = 1; i <= 8; i++) n = n * 256 + $i; print n }'; }
l1=$(word 40)
l2=$(word "$l1")
damaged l2 "$l2" '\x80\x00\x00\x00\x00\x05\x02\x00' l2 "host offset is not cluster aligned"
damaged l1 "$l1" '\x80\x00\x00\x00\x00\x04\x02\x00' l1 "L2 table offset is not cluster aligned"
damaged overlap "$l2" '\x80\x00\x00\x00\x00\x03\x00\x00' overlap "data lies in metadata"
damaged beyond "$l2" '\x80\x00\x00\x00\x40\x00\x00\x00' overlap "data lies beyond the end of the image"

# A mapped cluster whose count is 0: it is not given up.
cp a.qcow2 refcount.qcow2
data=$(word "$l2")
poke refcount.qcow2 $((2 * 65536 + (data >> 15))) '\x00\x00'
attach q refcount.qcow2
is q mode rw
if blkdiscard -o 0 -l 65536 /dev/mapper/q 2>/dev/null; then fail "what is not counted is given up"; fi
soon q mode ro
soon q corruptions 1
last_is refcount
read_some 1 1
detach q
ok "last=refcount"
