#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# fio verifies what four jobs at queue depth 32 wrote, trims mixed in, while the table is reloaded every second.
# cpus=2
# timeout=200

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create base.qcow2 64M
qemu-io -c "write -P 1 0 64M" base.qcow2 >/dev/null
create -b base.qcow2 -F qcow2 over.qcow2
# jobs NAME SIZE: four jobs, each in its quarter; small and odd blocks, so that they meet in clusters.
jobs() {
	cat >"$1.fio" <<FIO
[global]
filename=/dev/mapper/q
ioengine=libaio
direct=1
iodepth=32
bsrange=4k-96k
bs_unaligned=0
blockalign=4k
randseed=7
verify=crc32c
verify_fatal=1
verify_backlog=64
allow_mounted_write=1
runtime=${QCOW2_FULL:+1}10
time_based=1
size=$2
$(for at in 0 1 2 3; do printf '[job%s]\nrw=%s\noffset=%s\n' "$at" "${3:-randwrite}" $((at * $2)); done)
FIO
}
attach q over.qcow2 -b qcow2:base.qcow2 commit_ms 200
jobs verify $((16 << 20))
fio --output=fio.log verify.fio &
worker=$!
rounds=0
while kill -0 $worker 2>/dev/null; do
	dmsetup table q | dmsetup load q
	dmsetup suspend q
	dmsetup resume q
	rounds=$((rounds + 1))
	sleep 0.5
done
wait $worker || fail "fio: $(grep -v "^ *$" fio.log | head -n 20)"
say "$rounds reloads, $(grep -c 'err= 0' fio.log) jobs, $(grep -o 'WRITE: bw=[^ ]*' fio.log || true)"
want "no four jobs ended well" [ "$(grep -c 'err= 0' fio.log)" = 4 ]
want "too few reloads" [ $rounds -ge 3 ]
ok "write and verify under reloads"
jobs trim $((16 << 20)) randtrimwrite
fio --output=fio2.log trim.fio || fail "fio: $(head -n 20 fio2.log)"
want "nothing was discarded" [ "$(field q discards)" -gt 0 ]
ok "trims and writes"
detach q
clean over.qcow2
clean base.qcow2
