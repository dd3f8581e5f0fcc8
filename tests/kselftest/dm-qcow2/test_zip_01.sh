#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Compressed clusters of every size and both types: read, and written over at random.

# shellcheck source=tests/kselftest/dm-qcow2/zip.sh
. "$(dirname "$0")/zip.sh"

scratch ext4
packable content.raw 5 1
sizes=(512 4k 64k 2M)
[ -z "${QCOW2_FULL:-}" ] || sizes=(512 1k 2k 4k 8k 16k 32k 64k 128k 256k 512k 1M 2M)
for type in zlib zstd; do
	for size in $(some "${sizes[@]}"); do
		case $size in
		512 | 1k | 2k) bytes=512k ;;
		4k | 8k) bytes=2M ;;
		*) bytes=5M ;;
		esac
		cp content.raw model.raw
		truncate -s "$bytes" model.raw
		qemu-img convert -c -f raw -O qcow2 -W -o "cluster_size=$size,compression_type=$type" model.raw a.qcow2
		attach q a.qcow2
		want "$type $size: content differs" cmp model.raw /dev/mapper/q
		exercise q model.raw 3 40
		want "$type $size: content differs after writes" cmp model.raw /dev/mapper/q
		is q mode rw
		is q corruptions 0
		detach q
		clean a.qcow2
		same a.qcow2 model.raw
		ok "$type cluster_size $size"
		rm a.qcow2
	done
done
