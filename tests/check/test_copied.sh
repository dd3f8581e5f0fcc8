#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The flag COPIED of one entry is wrong, in L1 and L2, there and missing: check says so, repair mends it.

here=$(dirname "$(readlink -f "$0")")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# shellcheck source=tests/edit/without.sh
. "$here/../edit/without.sh"
without "$dir" || exit 1
python3 "$here/copied.py" "$dir"
