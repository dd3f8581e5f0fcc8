#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: make the images, and let what lies below those of IMAGES fail.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$(readlink -f "$0")")/../kselftest/dm-qcow2/lib.sh"

scratch ext4
need_module fuse
need_module loop
create base.qcow2 4M
qemu-io -c 'write -P 0xbb 0 1200k' base.qcow2 >/dev/null
# What is written here is like the base, so that one look tells both from what the guest wrote.
create -o cluster_size=4096 -u -b "$DIR/base.qcow2" -F qcow2 plain.qcow2 4M
qemu-io -c 'write -P 0xbb 0 64k' plain.qcow2 >/dev/null
qemu-img snapshot -c before plain.qcow2
qemu-io -c 'write -P 0xbb 0 16k' plain.qcow2 >/dev/null
create -o cluster_size=512,refcount_bits=64 growth.qcow2 4M
qemu-io -c 'write -P 0xbb 0 8k' growth.qcow2 >/dev/null
# The first table of counts reaches over 2 MiB: nearly all of that is in use, outside of what the guest reads and writes.
create -o cluster_size=512,refcount_bits=64 moves.qcow2 4M
qemu-io -c 'write -P 0xbb 0 8k' -c 'write -P 0 1250k 750k' -c 'write -P 0 2150k 800k' -c 'write -P 0 3050k 300k' \
	moves.qcow2 >/dev/null
cp base.qcow2 "$VM_OUT/"
# A block device does not grow.
cp plain.qcow2 device.qcow2
truncate -s 3M device.qcow2
declare -A lines=(
	[plain]="plain=plain.qcow2,$DIR/base.qcow2"
	[growth]="growth=growth.qcow2"
	[moves]="moves=moves.qcow2"
	[plain-loop]="plain-loop=device.qcow2,$DIR/base.qcow2"
)
chosen=()
for name in ${IMAGES}; do
	chosen+=("${lines[$name]}")
done
python3 "$TREE/tests/fault/inject.py" "$VM_OUT" "$STEPS" "$EVERY" "${chosen[@]}"
ok "injected"
