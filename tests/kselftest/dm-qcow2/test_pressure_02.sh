#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# One of ten allocations fails, of pages and of objects, in all that our module does or lets others do: requests
# end, at worst with an error, and what was answered is there.
# cpus=2
# timeout=100
# series=debug

# shellcheck source=tests/kselftest/dm-qcow2/starve.sh
. "$(dirname "$0")/starve.sh"

seconds=8
[ -z "${QCOW2_FULL:-}" ] || seconds=200
scratch ext4

# round TITLE IMAGE SEED own|all [table words...]: sets MODE to the mode at its end.
round() {
	local title=$1 image=$2 seed=$3 what=$4
	shift 4
	attach q "$image" "$@" cache_kib 64 commit_ms 100
	want "$title" python3 "$HERE/pressure.py" /dev/mapper/q $seconds "$seed" content.raw "$what"
	say "$(dmsetup status q)"
	is q corruptions 0
	look q mode
	MODE=$FOUND
	detach q
	if [ "$MODE" = rw ]; then
		clean "$image"
		same "$image" content.raw
	else
		qemu-img check "$image" >check.log 2>&1 || [ $? = 3 ] || fail "$title: $(<check.log)"
	fi
}

# Small clusters and a small cache: slices come and go, and refcount structures grow.
modprobe brd
dd if=/dev/zero of=/dev/ram1 bs=1M count=40 oflag=direct status=none
create -o cluster_size=512,refcount_bits=64 /dev/ram1 12M
round "a RAM disk" /dev/ram1 1 own
want "the mode is $MODE" [ "$MODE" = rw ]
ok "our allocations, the image on a RAM disk"

create -o cluster_size=4k base.qcow2 12M
qemu-io -c 'write -z 0 12M' base.qcow2 >/dev/null
create -o cluster_size=4k -b base.qcow2 -F qcow2 a.qcow2
round "a file" a.qcow2 2 own -b qcow2:base.qcow2
want "the mode is $MODE" [ "$MODE" = rw ]
ok "our allocations, the image in a file"

# A write of the image that fails ends in the mode that this has in store.
create -b base.qcow2 -F qcow2 b.qcow2
round "a file system" b.qcow2 3 all -b qcow2:base.qcow2
say "the mode is $MODE"
ok "those of the file system too"
