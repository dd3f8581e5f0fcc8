#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# An external data file, raw and not: content both ways with QEMU, zeroes and discards, the table, what is refused.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

scratch ext4
# used FILE: its blocks.
used() { stat -c '%b' "$1"; }

# variety CREATE-OPTIONS: QEMU writes and we read, we write and QEMU reads.
variety() {
	local name="an image" last=8388096 data
	data=$(quoted "$PWD/$name.data")
	create -o "$1,data_file=$name.data" "$name" $((last + 512))
	io "$name" 'write -P 1 0 64k' 'write -P 2 1000k 3000k' 'write -z 1100k 200k' 'discard 2M 1M' "write -P 3 $last 512"
	qemu-img convert -f qcow2 -O raw "$name" model.raw
	attach q "$name" data_file "$data"
	want "$1: content differs" cmp model.raw /dev/mapper/q
	exercise q model.raw 1 40 -t 16
	exercise q model.raw 2 60 -w -m 200
	is q mode rw
	is q corruptions 0
	is q ioerrs 0
	detach q
	clean "$name"
	same "$name" model.raw
	[[ ",$1," != *,data_file_raw=on,* ]] || want "$1: the data file differs" cmp -n $((last + 512)) model.raw "$name.data"
	io "$name" 'write -P 9 3M 2M' 'write -z 4M 64k'
	qemu-img convert -f qcow2 -O raw "$name" model.raw
	attach_ro q "$name" data_file "$data"
	want "$1: content differs" cmp model.raw /dev/mapper/q
	detach q
	rm "$name" "$name.data"
	ok "$1"
}

for kind in $(some 64k 64k,data_file_raw=on 2M,data_file_raw=on 2M 64k,extended_l2=on 2M,extended_l2=on,data_file_raw=on); do
	variety "cluster_size=$kind"
done

# What is zeroed or discarded gives its space back; the file stays where a guest may still look.
for raw in off on; do
	create -o data_file=d.data,data_file_raw=$raw d 32M
	attach q d data_file "$PWD/d.data"
	device_io q 'write -P 5 0 16M' flush
	full=$(used d.data)
	device_io q 'write -z -u 0 4M' flush
	blkdiscard -o 4M -l 4M /dev/mapper/q
	[ "$(used d.data)" -le $((full - 16300)) ] || fail "raw=$raw: $full blocks before, now $(used d.data)"
	device_io q 'read -P 0 0 8M' 'read -P 5 8M 8M' 'write -z 8M 1M' 'read -P 0 8M 1M' 'write -P 6 1M 4k' 'read -P 0 0 1M' 'read -P 0 1028k 3M'
	detach q
	clean d
	io d 'read -P 0 0 1M' 'read -P 6 1M 4k' 'read -P 0 1028k 3M' 'read -P 5 9M 7M'
	[ $raw = off ] || FORMAT=raw io d.data 'read -P 0 0 1M' 'read -P 6 1M 4k' 'read -P 0 1028k 3M' 'read -P 5 9M 7M' 'read -P 0 8M 1M'
	attach q d data_file "$PWD/d.data" discard keep
	full=$(used d.data)
	blkdiscard -o 8M -l 8M /dev/mapper/q
	device_io q 'read -P 0 8M 8M'
	[ "$(used d.data)" -ge "$full" ] || fail "discard keep: $full blocks before, now $(used d.data)"
	detach q
	clean d
	rm d d.data
	ok "zeroes and discards, raw=$raw"
done
