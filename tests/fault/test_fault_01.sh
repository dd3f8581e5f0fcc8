#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Each operation below an image fails in turn: machines do it, the outcome is judged here. The images (those
# named, or all) are a file with a base and a snapshot, one whose refcount structures grow, and a block device.
# KERNEL is the series, 6.12 if it is not set.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
steps=3
[ -z "${QCOW2_FULL:-}" ] || steps=0
[ $# != 0 ] || set -- plain growth plain-loop

# inject IMAGE: in a machine of its own.
inject() {
	mkdir "$temp/$1"
	"$here/../../scripts/vm-run" --kernel "${KERNEL:-6.12}" --mem 1536 --timeout "${QCOW2_FULL:+9}900" --env "STEPS=$steps" \
		--env "IMAGES=$1" --out "$temp/$1" "$here/inject.sh" >"$temp/log.$1" 2>&1 || touch "$temp/failed.$1"
}

for image in "$@"; do
	inject "$image" &
done
wait
for image in "$@"; do
	[ ! -e "$temp/failed.$image" ] || { sed 's/^/# /' "$temp/log.$image"; echo "not ok 1 injecting"; echo "1..1"; exit 1; }
done
python3 "$here/judge.py" "${@/#/$temp/}" | tee "$temp/judged"
! grep -q "^not ok" "$temp/judged"
