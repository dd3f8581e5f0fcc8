#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Compressed clusters below an overlay, in snapshots, on a block device.

# shellcheck source=tests/kselftest/dm-qcow2/zip.sh
. "$(dirname "$0")/zip.sh"

scratch ext4
packable content.raw 4 2
pack() { qemu-img convert -c -f raw -O qcow2 -o "$2" "$1" "$3"; }

pack content.raw compression_type=zlib,cluster_size=4k low.qcow2
# The layer between has clusters of both kinds, larger than those below it, and is shorter than the top.
create -o compression_type=zstd -b low.qcow2 -F qcow2 middle.qcow2
writes=()
for at in {8..24..2}; do
	writes+=(-c "write -c -P $at $((at * 131072)) 64k")
done
qemu-io -f qcow2 "${writes[@]}" middle.qcow2 >/dev/null
create -o cluster_size=2M -b middle.qcow2 -F qcow2 top.qcow2 9M
qemu-img convert -O raw top.qcow2 model.raw
cmp -s content.raw model.raw && fail "the layer between has nothing"
sums=$(md5sum low.qcow2 middle.qcow2)
attach q top.qcow2 -b qcow2:middle.qcow2 -b qcow2:low.qcow2
want "content differs" cmp model.raw /dev/mapper/q
exercise q model.raw 5 30
want "content differs after writes" cmp model.raw /dev/mapper/q
detach q
clean top.qcow2
same top.qcow2 model.raw
want "a lower layer was written" [ "$sums" = "$(md5sum low.qcow2 middle.qcow2)" ]
ok "below an overlay"

for type in zlib zstd; do
	pack content.raw "compression_type=$type" snap.qcow2
	cp content.raw model.raw
	qemu-img snapshot -c one snap.qcow2
	attach q snap.qcow2
	attach_ro v snap.qcow2 snapshot one
	want "the view differs" cmp content.raw /dev/mapper/v
	exercise q model.raw 6 30
	blockdev --flushbufs /dev/mapper/v
	want "the view differs after writes" cmp content.raw /dev/mapper/v
	detach v
	detach q
	clean snap.qcow2
	same snap.qcow2 model.raw
	qemu-img convert -l one -O raw snap.qcow2 one.raw
	want "$type: the snapshot has changed" cmp content.raw one.raw
	qemu-img snapshot -d one snap.qcow2
	clean snap.qcow2
	same snap.qcow2 model.raw
	ok "$type with a snapshot, and its view"
done

pack content.raw cluster_size=64k a.qcow2
qemu-img convert -f qcow2 -O qcow2 -c a.qcow2 dev.qcow2
truncate -s +4M dev.qcow2
loop dev.qcow2
cp content.raw model.raw
SECTORS=8192 attach q "$LOOP"
want "content differs on a block device" cmp content.raw /dev/mapper/q
exercise q model.raw 7 30
detach q
qemu-img check "$LOOP" >check.log 2>&1 || fail "$(cat check.log)"
qemu-img compare -f qcow2 -F raw "$LOOP" model.raw >/dev/null || fail "the block device's content"
ok "on a block device"
