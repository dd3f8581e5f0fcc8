#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A commit needs no read, and so does not fail when only reads do: not even the one that makes a refcount table move.
# timeout=60
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# below TARGET ARGUMENT...: what the image lies on, from now on.
below() {
	dmsetup suspend disk
	dmsetup load disk --table "0 131072 $*"
	dmsetup resume disk
}

table_at() { dd if=/dev/ram1 bs=512 count=1 iflag=direct status=none | od -An -tu8 --endian=big -j 48 -N 8; }

# fill KIB-FROM KIB: of the model to the device.
fill() { dd if=model.raw of=/dev/mapper/q bs=64k skip=$(($1 / 64)) seek=$(($1 / 64)) count=$(($2 / 64)) oflag=direct status=none; }

scratch ext4
need_module dm-flakey
ramdisk 1 64
dmsetup create probe --table "0 8 flakey /dev/ram1 0 0 600 1 error_reads" 2>/dev/null ||
	skip "this kernel cannot fail reads alone (dm-flakey)"
dmsetup remove probe
create -o cluster_size=512,refcount_bits=64 /dev/ram1 8M
dd if=/dev/urandom of=model.raw bs=1M count=3 status=none
truncate -s 8M model.raw
dmsetup create disk --table "0 131072 linear /dev/ram1 0"
DEVICES+=(disk)
attach q /dev/mapper/disk commit_ms 60000
fill 0 1792
sync /dev/mapper/q
before=$(table_at)
# The first table counts 2 MiB.
fill 1792 1280
want "the new table is there already" [ "$(table_at)" = "$before" ]
below flakey /dev/ram1 0 0 600 1 error_reads
want "a read must fail" [ "$(dd if=/dev/mapper/disk bs=4k count=1 iflag=direct 2>/dev/null | wc -c)" = 0 ]
want "the commit" sync /dev/mapper/q
is q mode rw
is q last none
want "the refcount table has not moved" [ "$(table_at)" != "$before" ]
below linear /dev/ram1 0
detach q
clean /dev/ram1
same /dev/ram1 model.raw
ok "a table has moved without a read"
