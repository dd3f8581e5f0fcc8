#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Discard and write-zeroes: space comes back, pass and keep, version 2 over a layer, both kinds of zero cluster.
# cpus=2

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create -o cluster_size=64k a.qcow2 16M
for way in pass keep; do
	attach q a.qcow2 discard $way
	dd if=/dev/urandom of=/dev/mapper/q bs=1M count=8 oflag=direct status=none
	sync /dev/mapper/q
	blocks=$(stat -c %b a.qcow2)
	alloc=$(field q alloc)
	blkdiscard -o 0 -l 4M /dev/mapper/q
	want "discarded data does not read as zeros" cmp -n $((4 << 20)) /dev/mapper/q /dev/zero
	sync /dev/mapper/q
	soon q alloc $((alloc - (4 << 20)))
	sync a.qcow2
	freed=$(((blocks - $(stat -c %b a.qcow2)) * 512))
	say "discard $way: $freed bytes came back"
	if [ $way = pass ]; then
		[ $freed -ge $((3 << 20)) ] || fail "the host got $freed bytes back"
	else
		[ $freed -lt $((1 << 20)) ] || fail "the host got $freed bytes back"
	fi
	blkdiscard -f /dev/mapper/q
	detach q
	clean a.qcow2
	ok "discard $way"
done
attach q a.qcow2
dd if=/dev/urandom of=/dev/mapper/q bs=1M count=4 oflag=direct status=none
fallocate --zero-range -o 1M -l 1M /dev/mapper/q
blkdiscard -z -o 2M -l 1M /dev/mapper/q
fallocate --zero-range -o 4096 -l 8192 /dev/mapper/q
dd if=/dev/mapper/q of=model.raw bs=1M status=none
want "zeroes" cmp -n $((2 << 20)) -i $((1 << 20)):0 model.raw /dev/zero
want "zeroes inside a cluster" cmp -n 8192 -i 4096:0 model.raw /dev/zero
detach q
clean a.qcow2
same a.qcow2 model.raw
ok "write-zeroes"
head -c 4M /dev/urandom >base.raw
for compat in 0.10 1.1; do
	create -b base.raw -F raw -o cluster_size=64k,compat=$compat b.qcow2
	attach q b.qcow2 -b raw:base.raw
	blkdiscard -o 0 -l 1M /dev/mapper/q
	blkdiscard -z -o 1M -l 1M /dev/mapper/q
	want "$compat: zeroes show the layer below" cmp -n $((1 << 20)) -i $((1 << 20)):0 /dev/mapper/q /dev/zero
	if [ $compat = 1.1 ]; then
		want "$compat: discard shows the layer below" cmp -n $((1 << 20)) /dev/mapper/q /dev/zero
	else
		want "$compat: discard must have no effect" cmp -n $((1 << 20)) /dev/mapper/q base.raw
	fi
	dd if=/dev/mapper/q of=model.raw bs=1M status=none
	detach q
	clean b.qcow2
	same b.qcow2 model.raw
	ok "over a layer, version $compat"
	rm b.qcow2
done
