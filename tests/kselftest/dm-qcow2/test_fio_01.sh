#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# fio verifies what four jobs at queue depth 32 wrote, trims mixed in, while the table is reloaded every second; on images
# of several kinds, with zeroes beside; and qemu-img reads what the device showed.
# cpus=2
# timeout=200

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create base.qcow2 64M
qemu-io -c "write -P 1 0 64M" base.qcow2 >/dev/null
create -b base.qcow2 -F qcow2 over.qcow2
# jobs NAME SIZE SECONDS [RW]...: four jobs, each in its quarter; small and odd blocks, so that they meet in clusters. A job
# that begins anew has no two requests for the same bytes on their way: of clusters of 512 bytes either may come last.
jobs() {
	local name=$1 size=$2 seconds=$3 at
	shift 3
	local rw=("${@:-randwrite}")
	cat >"$name.fio" <<FIO
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
serialize_overlap=1
allow_mounted_write=1
runtime=$seconds
time_based=1
size=$size
$(for at in 0 1 2 3; do printf '[job%s]\nrw=%s\noffset=%s\n' "$at" "${rw[at % ${#rw[@]}]}" $((at * size)); done)
FIO
}
# verified WORKER NAME: the jobs have ended, all four well.
verified() {
	wait "$1" || fail "fio: $(grep -v "^ *$" "$2.log" | head -n 20)"
	want "no four jobs ended well" [ "$(grep -c 'err= 0' "$2.log")" = 4 ]
}
# detach_same IMAGE: what the device shows is what qemu-img reads then.
detach_same() {
	dd if=/dev/mapper/q of=shown.raw bs=1M iflag=direct status=none
	detach q
	clean "$1"
	same "$1" shown.raw
	rm shown.raw
}
long=${QCOW2_FULL:+1}7 short=${QCOW2_FULL:+1}1
attach q over.qcow2 -b qcow2:base.qcow2 commit_ms 200
jobs verify $((16 << 20)) "$long"
start=${EPOCHREALTIME/./}
fio --output=verify.log verify.fio &
worker=$!
rounds=0
while kill -0 $worker 2>/dev/null; do
	dmsetup table q | dmsetup load q
	dmsetup suspend q
	dmsetup resume q
	rounds=$((rounds + 1))
	sleep 0.5
done
ms=$(((${EPOCHREALTIME/./} - start) / 1000))
verified $worker verify
say "$rounds reloads in $ms ms, $(grep -o 'WRITE: bw=[^ ]*' verify.log || true)"
# One a second is asked for; a host that has other work allows one in two or three.
want "$rounds reloads in $ms ms" [ $rounds -ge $((ms > 9000 ? (ms + 2999) / 3000 : 3)) ]
ok "write and verify under reloads"
jobs trim $((16 << 20)) "$long" randtrimwrite
fio --output=trim.log trim.fio &
verified $! trim
want "nothing was discarded" [ "$(field q discards)" -gt 0 ]
detach_same over.qcow2
clean base.qcow2
ok "trims and writes"
rm over.qcow2

# kind NAME: makes image.qcow2 of five parts of PART bytes, and LAYERS below it.
kind() {
	PART=$((2 << 20)) LAYERS=()
	case $1 in
	over-raw)
		dd if=/dev/urandom of=base.raw bs=1M count=10 status=none
		create -b base.raw -F raw image.qcow2 $((5 * PART))
		LAYERS=(-b "raw:base.raw")
		;;
	over-shorter)
		PART=$((14 << 20))	# the base has 64 MiB
		create -o cluster_size=16k -b base.qcow2 -F qcow2 image.qcow2 $((5 * PART))
		LAYERS=(-b qcow2:base.qcow2)
		;;
	*)
		[ "${1%-*}" != 2M ] || PART=$((6 << 20))
		create -o "cluster_size=${1%-*},compat=${1#*-}" image.qcow2 $((5 * PART))
		;;
	esac
}
# Every size; of the two versions each kernel has one of a size.
kinds=() sizes=(512 1k 2k 4k 8k 16k 32k 64k 128k 256k 512k 1M 2M) versions=(1.1 0.10)
[ "${VM_KERNEL:-}" != 6.1 ] || versions=(0.10 1.1)
for at in "${!sizes[@]}"; do
	kinds+=("${sizes[at]}-${versions[at % 2]}")
	[ -z "${QCOW2_FULL:-}" ] || kinds+=("${sizes[at]}-${versions[(at + 1) % 2]}")
done
for name in "${kinds[@]}" over-raw over-shorter; do
	kind "$name"
	attach q image.qcow2 "${LAYERS[@]}" commit_ms 200
	jobs kind $PART "$short" randwrite randtrimwrite
	fio --output=kind.log kind.fio &
	worker=$!
	region_writer.py /dev/mapper/q $((4 * PART)) $PART "$short" >region.log 2>&1 || fail "$name: $(cat region.log)"
	verified $worker kind
	say "$name: $(cat region.log) beside"
	detach_same image.qcow2
	ok "$name"
	rm image.qcow2
done
