#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Overlays on raw and qcow2 layers of other cluster sizes, lengths and versions.
# timeout=200
# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
# base NAME FORMAT BYTES CLUSTER COMPAT
base() {
	head -c "$3" /dev/urandom >"$1.raw"
	[ "$2" = raw ] || qemu-img convert -f raw -O qcow2 -o "cluster_size=$4,compat=$5" "$1.raw" "$1.qcow2"
}
try() {
	local name=$1 file=$2 format=$3 opts=$4
	create -b "$file" -F "$format" -o "$opts" a.qcow2 12M
	qemu-io -f qcow2 -c 'write -P 9 1M 300k' a.qcow2 >/dev/null
	qemu-img convert -f qcow2 -O raw a.qcow2 model.raw
	attach q a.qcow2 -b "$format:$file"
	want "$name: content differs before" cmp model.raw /dev/mapper/q
	exercise q model.raw 5 60
	exercise q model.raw 6 40 -w -m 400
	detach q
	clean a.qcow2
	same a.qcow2 model.raw
	ok "$name"
	rm a.qcow2 model.raw
}
base short raw 5000000 - -
base odd raw 8000001 - -
base long raw 20000000 - -
base small qcow2 9000448 512 0.10
base large qcow2 16777216 2M 1.1
try "a short raw layer" short.raw raw cluster_size=64k
try "a raw layer of odd length" odd.raw raw cluster_size=4k
try "a longer raw layer" long.raw raw cluster_size=64k
try "a version 2 layer of 512-byte clusters" small.qcow2 qcow2 cluster_size=64k
try "a longer layer of 2 MiB clusters" large.qcow2 qcow2 cluster_size=512
try "a version 2 overlay" large.qcow2 qcow2 cluster_size=64k,compat=0.10
