#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: go through the images on the disk.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$(readlink -f "$0")")/../kselftest/dm-qcow2/lib.sh"

load_target
mkdir -p "$DIR"
mount -t ext4 "$VM_DISKS" "$DIR"
image_loop "$DIR" "$DIR" || fail "image_loop"
umount "$DIR"
ok "all rows"
