#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Reading and writing at the end and beyond; a shorter table; an image cut behind our back.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create a.qcow2 1049088
attach q a.qcow2
head -c 512 /dev/urandom >last
dd if=last of=/dev/mapper/q bs=512 seek=2048 count=1 oflag=direct status=none
want "the last sector" cmp last <(dd if=/dev/mapper/q bs=512 skip=2048 iflag=direct status=none)
dd if=/dev/zero of=/dev/mapper/q bs=512 seek=2049 count=1 oflag=direct status=none 2>/dev/null &&
	fail "wrote beyond the end"
want "read beyond the end" [ "$(dd if=/dev/mapper/q bs=512 skip=2049 count=1 status=none | wc -c)" = 0 ]
detach q
clean a.qcow2
ok "a size that is no multiple of a cluster"
SECTORS=100 attach q a.qcow2
want "length" [ "$(blockdev --getsz /dev/mapper/q)" = 100 ]
detach q
ok "a shorter table"

# Cut while it is attached: of header, counts, tables and data of 64 KiB each seven or four are left. As QEMU has it,
# data behind the end of the file is zeros; a table that was there is not.
read_at() { dd if=/dev/mapper/q bs=64k skip="$1" count=1 iflag=direct status=none; }
filled() { head -c 65536 /dev/zero | tr '\0' "$1"; }
write_at() { filled "$2" | dd of=/dev/mapper/q bs=64k seek="$1" count=1 iflag=fullblock oflag=direct status=none; }
# cut CLUSTERS [SNAPSHOT]: an image with data in its first half is attached, and cut.
cut() {
	rm -f a.qcow2
	create a.qcow2 2M
	qemu-io -f qcow2 -c 'write -P 7 0 1M' a.qcow2 >/dev/null
	[ -z "${2:-}" ] || qemu-img snapshot -c "$2" a.qcow2
	attach q a.qcow2 hop $hop
	truncate -s $(($1 * 65536)) a.qcow2
}
for hop in auto always; do
	cut 7
	want "hop $hop: what is left" cmp <(read_at 1) <(filled '\7')
	for at in 2 15; do
		want "hop $hop: cluster $at is gone" cmp <(read_at $at) <(filled '\0')
	done
	write_at 15 '\3'
	write_at 20 '\4'
	for pair in '1 \7' '14 \0' '15 \3' '20 \4'; do
		want "hop $hop: after writes, $pair" cmp <(read_at "${pair% *}") <(filled "${pair#* }")
	done
	is q mode rw
	is q corruptions 0
	dmsetup suspend q
	clean a.qcow2 -U
	dmsetup resume q || fail "what was cut was written anew, and it is not resumed"
	dmsetup suspend q
	size=$(stat -c %s a.qcow2)
	truncate -s $((7 * 65536)) a.qcow2
	refused "Stale file handle" "image was cut: clusters in use lie beyond its end" dmsetup resume q
	truncate -s $((3 * 65536)) a.qcow2
	refused "Stale file handle" "l1_table_offset lies beyond the end" dmsetup resume q
	is q claim parked
	want "hop $hop: it was written" [ "$(stat -c %s a.qcow2)" = $((3 * 65536)) ]
	dmsetup remove --retry q
	cut 7
	dmsetup suspend q
	refused "Stale file handle" "image was cut: clusters in use lie beyond its end" dmsetup resume q
	truncate -s "$size" a.qcow2
	dmsetup resume q || fail "its clusters are back, and it is not resumed"
	dmsetup remove --retry q

	# The table itself is gone, and was not read before: nobody knows what was there.
	cut 4
	before=$(events q)
	out=$(read_at 0 2>&1 >/dev/null) && fail "hop $hop: zeros for a lost table"
	want "hop $hop: errno: $out" grep -q "Input/output error" <<<"$out"
	want "hop $hop: what is said" grep -q "guest offset 0x0: L2 table lies beyond the end of the image" <(dmesg)
	soon q mode ro
	is q corruptions 1
	is q last l1@0
	want "hop $hop: no event" [ "$(events q)" -gt "$before" ]
	! write_at 20 '\4' 2>/dev/null || fail "hop $hop: wrote to a damaged image"
	want "hop $hop: it was written" [ "$(stat -c %s a.qcow2)" = $((4 * 65536)) ]
	dmsetup remove --retry q
	cut 4
	! write_at 20 '\4' 2>/dev/null || fail "hop $hop: wrote to a table that is lost"
	soon q mode ro
	dmsetup suspend q
	refused "Stale file handle" "image was cut" dmsetup resume q
	dmsetup remove --retry q
	# A snapshot shares it: the first write would copy it.
	cut 4 s1
	! write_at 20 '\4' 2>/dev/null || fail "hop $hop: copied a table that is lost"
	soon q mode ro
	is q corruptions 1
	want "hop $hop: it was written" [ "$(stat -c %s a.qcow2)" = $((4 * 65536)) ]
	dmsetup remove --retry q
	ok "an image that was cut while attached, hop $hop"

	# A block of counts is gone: what it counts cannot be given back, and nothing is handed out.
	rm a.qcow2
	create -o cluster_size=512 a.qcow2 512k
	qemu-io -f qcow2 -c 'write -P 7 0 256k' a.qcow2 >/dev/null
	at=$(python3 - a.qcow2 <<'PY'
import struct, sys
with open(sys.argv[1], "rb") as file:
    table, clusters = struct.unpack_from(">QI", file.read(104), 48)
    file.seek(table)
    print([at for at, in struct.iter_unpack(">Q", file.read(clusters * 512)) if at][-1])
PY
)
	attach q a.qcow2 hop $hop commit_ms 10
	truncate -s "$at" a.qcow2
	before=$(events q)
	blkdiscard -o 261632 -l 512 /dev/mapper/q 2>/dev/null || true
	soon q mode ro
	is q corruptions 1
	want "hop $hop: no event" [ "$(events q)" -gt "$before" ]
	! write_at 7 '\4' 2>/dev/null || fail "hop $hop: wrote where counts are lost"
	want "hop $hop: what is left" cmp <(read_at 1) <(filled '\7')
	want "hop $hop: it was written" [ "$(stat -c %s a.qcow2)" = "$at" ]
	dmsetup remove --retry q
	ok "counts that were cut off, hop $hop"
done
head -c 1M /dev/urandom >base.raw
head -c 300k base.raw >model.raw
truncate -s 1M model.raw
create -b base.raw -F raw over.qcow2 1M
attach q over.qcow2 -b raw:base.raw
truncate -s 300k base.raw
want "a cut raw layer" cmp model.raw /dev/mapper/q
for at in 4 15; do
	dd if=last of=/dev/mapper/q bs=512 seek=$((at * 128 + 90)) count=1 oflag=direct status=none
	dd if=last of=model.raw bs=512 seek=$((at * 128 + 90)) count=1 conv=notrunc status=none
done
dmsetup suspend q
dmsetup resume q
want "a cut raw layer, written and resumed" cmp model.raw /dev/mapper/q
detach q
clean over.qcow2
same over.qcow2 model.raw
ok "a raw layer that was cut"

# Another image when it is resumed: refused.
rm a.qcow2
create a.qcow2 1M
attach q a.qcow2
head -c 128 a.qcow2 >header
# poke OFFSET BYTES
poke() { printf '%b' "$2" | dd of=a.qcow2 bs=1 seek="$1" conv=notrunc,fsync status=none; }
dmsetup suspend q
poke 29 '\x08'
refused "Stale file handle" "image is shorter than the table now" dmsetup resume q
poke 29 '\x10'
poke 99 '\x05'
refused "Stale file handle" "image changed since the table was loaded" dmsetup resume q
poke 99 '\x04'
poke 79 '\x10'		# extended L2
refused "Stale file handle" "image changed since the table was loaded" dmsetup resume q
dd if=header of=a.qcow2 conv=notrunc,fsync status=none
dmsetup resume q || fail "its own image is back, and it is not resumed"
is q mode rw
detach q
clean a.qcow2
ok "an image that was changed while suspended"
