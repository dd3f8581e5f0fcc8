#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Extended L2: random writes, zeroes and discards at depth 32 over all states: content, no errors, no leaks.
# cpus=2

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
sizes="16384 131072"
[ -z "${QCOW2_FULL:-}" ] || sizes="16384 32768 65536 131072 262144 524288 1048576 2097152"
# shellcheck disable=SC2086
subcluster.py commands 11 24 $sizes
head -c 300032 /dev/urandom >base.raw
# at_random IMAGE: from 32 threads on the same clusters, then from one without any alignment.
at_random() {
	qemu-img convert -f qcow2 -O raw "$1" model.raw
	attach q "$1" "${@:2}"
	exercise q model.raw 1 30 -t 32 -m 8
	exercise q model.raw 2 150 -w -m 200
	is q mode rw
	is q corruptions 0
	detach q
	clean "$1"
	same "$1" model.raw
}

for size in $sizes; do
	create -o "extended_l2=on,cluster_size=$size" -b base.raw -F raw a.qcow2 $((24 * size - 2560))
	qemu-io -f qcow2 a.qcow2 <"$size.io" >/dev/null
	qemu-img snapshot -c one a.qcow2
	qemu-io -f qcow2 -c "write -P 5 $((3 * size)) $((size / 16))" a.qcow2 >/dev/null
	at_random a.qcow2 -b raw:base.raw
	ok "cluster_size $size: backing file, snapshot, compressed"
	qemu-img convert -f qcow2 -O raw -l one a.qcow2 one.raw
	qemu-img snapshot -a one a.qcow2
	same a.qcow2 one.raw
	qemu-img snapshot -d one a.qcow2
	clean a.qcow2
	rm a.qcow2
	create -o "extended_l2=on,cluster_size=$size" a.qcow2 $((24 * size - 2560))
	at_random a.qcow2
	ok "cluster_size $size: empty"
	rm a.qcow2
done
