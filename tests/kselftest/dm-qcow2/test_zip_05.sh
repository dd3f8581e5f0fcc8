#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Compressed clusters that are damaged, or lie where none may: an error there and nowhere else. What is damaged can be replaced.
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/zip.sh
. "$(dirname "$0")/zip.sh"

# part CLUSTER, whole CLUSTER: write 4 KiB, or all of it.
part() { dd if=/dev/zero of=/dev/mapper/q bs=4k seek=$(($1 * 16)) count=1 oflag=direct status=none 2>/dev/null; }
whole() { dd if=/dev/zero of=/dev/mapper/q bs=64k seek="$1" count=1 oflag=direct status=none 2>/dev/null; }
discard() { blkdiscard -f -o $(($1 * 65536)) -l 65536 /dev/mapper/q 2>/dev/null; }

scratch xfs
for type in zlib zstd; do
	make damaged $type damaged model
	attach q damaged
	holds model "$type: damaged clusters"
	look q last
	[[ $FOUND = inflate@* ]] || fail "$type: last=$FOUND"
	look q ioerrs
	[ "$FOUND" -gt 20 ] || fail "$type: ioerrs=$FOUND"
	part 2 && fail "$type: a part of a damaged cluster was written"
	is q last inflate@131072
	whole 2 || fail "$type: a damaged cluster was not replaced"
	discard 4 || fail "$type: a damaged cluster was not discarded"
	part 3 || fail "$type: its neighbour"
	is q mode rw
	is q corruptions 0
	dd if=/dev/zero of=model bs=64k seek=2 count=1 conv=notrunc status=none
	dd if=/dev/zero of=model bs=64k seek=4 count=1 conv=notrunc status=none
	dd if=/dev/zero of=model bs=4k seek=48 count=1 conv=notrunc status=none
	holds model "$type: after the writes"
	detach q
	clean damaged
	ok "$type: damaged clusters"

	make misplaced $type misplaced model
	# All but that about cluster 5.
	before=$(qemu-img check misplaced 2>&1 | grep ERROR | grep -v 'size 0x1f' || true)
	attach q misplaced
	holds model "$type: misplaced clusters"
	for cluster in 1 2 3 4; do
		part $cluster && fail "$type: a part of misplaced cluster $cluster was written"
		whole $cluster && fail "$type: misplaced cluster $cluster was written"
		is q last inflate@$((cluster * 65536))
		discard $cluster && fail "$type: misplaced cluster $cluster was discarded"
	done
	part 0 || fail "$type: cluster 0"
	part 5 || fail "$type: cluster 5, which leads over the end"
	whole 20 || fail "$type: cluster 20"
	is q mode rw
	detach q
	# A part of cluster 5 was never there, so giving it up leaves a count behind.
	after=$(qemu-img check misplaced 2>&1 | grep ERROR || true)
	[ "$before" = "$after" ] || fail "$type: other errors than before: $after"
	ok "$type: misplaced clusters"
done
