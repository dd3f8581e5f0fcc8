#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Images damaged at random: check judges as qemu-img does, repair leaves nothing and saves the rest.

here=$(dirname "$(readlink -f "$0")")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 "$here/damaged.py" "$dir" 1 "$([ -n "$QCOW2_FULL" ] && echo 3000 || echo 200)"
