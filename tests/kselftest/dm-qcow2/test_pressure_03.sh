#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# No buffer of 64 KiB is to be had but the one in reserve, and more writes that need one are on their way than a lane has
# workers: one after the other they come to an end.
# cpus=2
# timeout=60
# series=debug

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

fail=/sys/kernel/debug/fail_page_alloc
[ -d $fail ] || skip "this kernel has no fail_page_alloc"
# arm PERCENT: of all allocations of 16 pages or more.
arm() {
	local setting
	for setting in "interval 1" "times -1" "verbose 0" "min-order 4" "ignore-gfp-wait N" "ignore-gfp-highmem N" \
		"stacktrace-depth 0" "probability $1"; do
		echo "${setting#* }" >"$fail/${setting% *}"
	done
}

scratch ext4
create base.qcow2 40M
qemu-io -c 'write -P 7 0 40M' base.qcow2 >/dev/null
# A loop device answers later, so a write leaves its worker.
truncate -s 100M disk.raw
loop disk.raw
create -b "$PWD/base.qcow2" -F qcow2 "$LOOP"
attach q "$LOOP" -b qcow2:base.qcow2
# The first request fills the reserves.
dd if=/dev/zero of=/dev/mapper/q bs=4k count=1 seek=10000 oflag=direct status=none
arm 100
# 4 KiB of each cluster.
fio --name=w --filename=/dev/mapper/q --ioengine=libaio --direct=1 --iodepth=600 --rw=write:60k --bs=4k --size=36M \
	--io_size=2400k --output=fio.log &
in_time=0
for ((at = 0; at < 1200; at++)); do
	kill -0 $! 2>/dev/null || { in_time=1; break; }
	sleep 0.1
done
cows=$(field q cows)
arm 0
wait $! || fail "$(<fio.log)"
want "writes wait for each other ($cows were done)" [ $in_time = 1 ]
want "only $cows copies" [ "$cows" -ge 500 ]
detach q
qemu-img check -q "$LOOP" || fail "check"
ok "$cows writes with one buffer, $((at / 10)) s"
