#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Random writes, discards, snapshots and sizes by a device and qcow2ctl, and by qemu-io and qemu-img: the same
# disks, the same snapshots, and images that go from one to the other and back.
# timeout=250
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

steps=25 kinds=(cluster_size=64k)
[ -z "${QCOW2_FULL:-}" ] || steps=200 kinds=(cluster_size=64k "cluster_size=4k,refcount_bits=64" extended_l2=on)
scratch ext4
made q
seed=2
for options in "${kinds[@]}"; do
	seed=$((seed + 1))
	want "$options" python3 "$HERE/edit_random.py" "$QCOW2CTL" $seed $steps "$options"
	rm -f -- *.qcow2
	ok "$options"
done
