#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Views of several snapshots show what qemu-img reads from them, while the active layer is written,
# over layers below too; and the active layer is not disturbed.
# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

# shown NAME RAW: the whole device, and with direct reads from odd places.
shown() {
	want "$1 does not show $2" cmp "/dev/mapper/$1" "$2"
	want "$1: direct" cmp -n 1048576 <(dd if="/dev/mapper/$1" iflag=direct bs=64k count=16 status=none) "$2"
}

# rounds WRITER: compare until the writer has ended, twice at least; the page cache is no help.
rounds() {
	local at
	for ((at = 0; at < 2 || $(jobs -r | wc -l) > 0; at++)); do
		shown v1 s1.raw
		shown v2 s2.raw
		blockdev --flushbufs /dev/mapper/v1 /dev/mapper/v2
	done
	wait "$1" || fail "the active layer is not what was written"
	say "$at rounds"
}

scratch ext4
create base.qcow2 6M
io base.qcow2 'write -P 9 1M 4M'
for size in $(some 512 64k); do
	create -o "cluster_size=$size" -b base.qcow2 -F qcow2 a.qcow2 8M
	io a.qcow2 'write -P 1 0 2M' 'write -P 2 5M 1M' 'write -z 4M 512k'
	qemu-img snapshot -c s1 a.qcow2
	io a.qcow2 'write -P 3 1M 1M' 'write -z 5M 256k'
	qemu-img snapshot -c s2 a.qcow2
	for at in 1 2; do
		qemu-img convert -l s$at -O raw a.qcow2 s$at.raw
	done
	qemu-img convert -O raw a.qcow2 model.raw
	attach q a.qcow2 -b qcow2:base.qcow2
	attach_ro v1 a.qcow2 -b qcow2:base.qcow2 snapshot s1
	attach_ro v2 a.qcow2 -b qcow2:base.qcow2 snapshot 2
	is v1 view 1
	is v2 view 2
	is q view -
	is v1 mode ro
	exercise q model.raw 7 500 &
	rounds $!
	# Suspends of one leave the others alone.
	dmsetup suspend q
	shown v1 s1.raw
	dmsetup suspend v1
	dmsetup resume q
	exercise q model.raw 8 60
	dmsetup resume v1
	shown v1 s1.raw
	# The owner goes, and comes back beside the views.
	detach q
	shown v2 s2.raw
	attach q a.qcow2 -b qcow2:base.qcow2
	exercise q model.raw 9 60
	shown v1 s1.raw
	detach v1
	detach q
	shown v2 s2.raw
	detach v2
	clean a.qcow2
	same a.qcow2 model.raw
	ok "cluster_size $size"
	rm a.qcow2 ./*.raw
done
