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

# Cut while it is attached: five clusters of metadata and two of data are left. As QEMU has it, data behind the end of
# the file is zeros.
read_at() { dd if=/dev/mapper/q bs=64k skip="$1" count=1 iflag=direct status=none 2>/dev/null; }
filled() { head -c 65536 /dev/zero | tr '\0' "$1"; }
for hop in auto always; do
	rm -f a.qcow2
	create a.qcow2 1M
	qemu-io -f qcow2 -c 'write -P 7 0 1M' a.qcow2 >/dev/null
	attach q a.qcow2 hop $hop
	truncate -s $((7 * 65536)) a.qcow2
	want "hop $hop: what is left" cmp <(read_at 1) <(filled '\7')
	for at in 2 15; do
		want "hop $hop: cluster $at is gone" cmp <(read_at $at) <(filled '\0')
	done
	want "hop $hop: what is left, again" cmp <(read_at 1) <(filled '\7')
	is q mode rw
	dmsetup remove --retry q

	# The table itself is gone, and was not read before: nobody knows what was there.
	rm a.qcow2
	create a.qcow2 1M
	qemu-io -f qcow2 -c 'write -P 7 0 1M' a.qcow2 >/dev/null
	attach q a.qcow2 hop $hop
	truncate -s $((4 * 65536)) a.qcow2
	! dd if=/dev/mapper/q of=/dev/null bs=64k count=1 iflag=direct status=none 2>/dev/null || fail "hop $hop: zeros for a lost table"
	dmsetup remove --retry q
	ok "an image that was cut while attached, hop $hop"
done

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
