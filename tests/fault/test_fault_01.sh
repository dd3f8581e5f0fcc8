#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Each operation below an image fails in turn: a machine does it, the outcome is judged here. The images (those
# named, or all) are a file with a base and a snapshot, one whose refcount structures grow, and a block device; with
# QCOW2_FULL also one whose refcount table moves. KERNEL is the series, 6.12 if it is not set. With QCOW2_FULL all operations
# fail, or each EVERY-th.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
steps=3
[ -z "${QCOW2_FULL:-}" ] || steps=0
mkdir "$temp/out"
"$here/../../scripts/vm-run" --kernel "${KERNEL:-6.12}" --mem 1536 --smp 1 --timeout "${QCOW2_FULL:+9}900" --env "STEPS=$steps" --env "EVERY=${EVERY:-1}" \
	--env "IMAGES=${*:-plain growth plain-loop${QCOW2_FULL:+ moves}}" --out "$temp/out" "$here/inject.sh" >"$temp/log" 2>&1 ||
	{ sed 's/^/# /' "$temp/log"; echo "not ok 1 injecting"; echo "1..1"; exit 1; }
python3 "$here/judge.py" "$temp/out" | tee "$temp/judged"
! grep -q "^not ok" "$temp/judged"
