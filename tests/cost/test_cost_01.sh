#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What a layer costs, in instructions: the machine's clock goes by them, and by nothing else.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
tree=$here/../..
mkdir -p "$tree/build/cost"
cc -O2 -D_GNU_SOURCE -Wall -Wextra -Werror -o "$tree/build/cost/swap" "$here/swap.c"
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
"$tree/scripts/vm-run" --kernel "${KERNEL:-6.12}" --icount 1 --timeout 200 "$here/layer.sh" "$tree/build/cost/swap" >"$temp/log" 2>&1 ||
	{ grep -v "^KTAP\|^ok\|^1\.\." "$temp/log" | sed 's/^/# /'; echo "not ok 1 cost"; echo "1..1"; exit 1; }
cat "$temp/log"
