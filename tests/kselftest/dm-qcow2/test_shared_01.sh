#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Entries of the disk's own tables share an L2 table, or data, and are counted for that: what qemu-img check -r leaves
# where two had one by mistake. Each gets a copy when it is written, as with a snapshot.
# timeout=150

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# image OPTIONS: a.qcow2, without an error, and its content in model.raw.
image() {
	local span=$((2 << 20))
	rm -f a.qcow2
	[[ $1 != *extended* ]] || span=$((16 << 20))
	create -o "$1" a.qcow2 $((4 * span))
	qemu-io -f qcow2 -c 'write -P 1 0 512k' -c 'write -P 2 512k 512k' -c 'write -c -P 3 1M 64k' -c "write -P 4 $span 64k" \
		-c "write -P 5 $((3 * span)) 256k" a.qcow2 >/dev/null
	shared_image.py a.qcow2
	qemu-img check -q -r all a.qcow2 2>/dev/null >&2 || true
	clean a.qcow2
	qemu-img convert -f qcow2 -O raw a.qcow2 model.raw
}
# counted: nothing is wrong but that what is shared no more does not know, as after a write of QEMU's.
counted() {
	local out
	out=$(qemu-img check a.qcow2 2>&1 | grep -E '^(ERROR|Leaked)' | grep -v '^ERROR OFLAG_COPIED.*refcount=1$') || return 0
	fail "qemu-img check: $out"
}

scratch ext4
for options in $(some cluster_size=4k,compat=0.10 cluster_size=4k cluster_size=16k,extended_l2=on); do
	image "$options"
	attach q a.qcow2
	is q mode rw
	checked q 0 0
	exercise q model.raw 7 200
	is q mode rw
	detach q
	counted
	same a.qcow2 model.raw
	attach q a.qcow2	# some are alone now, and have no COPIED
	exercise q model.raw 8 200
	is q mode rw
	is q corruptions 0
	detach q
	counted
	qemu-img check -q -r all a.qcow2 2>/dev/null >&2 || true
	clean a.qcow2
	same a.qcow2 model.raw
	ok "$options: random writes"

	image "$options"
	attach q a.qcow2
	for part in 3 1 0 2; do
		part=$((part * $(blockdev --getsize64 /dev/mapper/q) / 4))
		for at in 0 $((512 << 10)) $((1 << 20)); do
			blkdiscard -o $((part + at)) -l 65536 /dev/mapper/q
			fallocate --zero-range -n -o $((part + at)) -l 65536 model.raw
		done
		sync /dev/mapper/q
	done
	want "discards" cmp /dev/mapper/q model.raw
	is q mode rw
	detach q
	counted
	same a.qcow2 model.raw
	ok "$options: discards"
done

# A cluster that is not counted may get a second owner before what the first had there is given back.
hostile.py . w_uncounted_discard
attach q w_uncounted_discard
head -c 4096 /dev/urandom >new.raw
blkdiscard -o 16384 -l 4096 /dev/mapper/q 2>/dev/null || say "the discard is refused"
if dd if=new.raw of=/dev/mapper/q bs=4k seek=20 oflag=direct status=none 2>/dev/null; then
	sync /dev/mapper/q || true
	sleep 1
	want "what was written is gone" cmp -i 0:81920 -n 4096 new.raw <(dd if=/dev/mapper/q bs=4k count=21 iflag=direct status=none)
fi
is q mode ro
detach q
ok "a cluster that is not counted, and two owners"
