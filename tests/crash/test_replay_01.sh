#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Power cuts at recorded points: a machine records six workloads, their logs are replayed here.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
tree=$here/../..
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
points=60
[ -z "${QCOW2_FULL:-}" ] || points=0
workloads="allocate cow snapshot mixed growth suspend"

echo "KTAP version 1"
disks=()
for name in $workloads; do
	truncate -s 2G "$temp/$name.log"
	disks+=(--disk "$temp/$name.log")
done
"$tree/scripts/vm-run" --kernel 6.12 --mem 1536 --timeout 280 --out "$temp/out" \
	${QCOW2_FULL:+--env QCOW2_FULL=1} "${disks[@]}" "$here/record.sh" >"$temp/record" 2>&1 ||
	{ cat "$temp/record"; echo "not ok 1 recording"; echo "1..1"; exit 1; }
count=0
rc=0
for name in $workloads; do
	count=$((count + 1))
	base=()
	[ "$name" != cow ] || base=(--base "$temp/out/base.qcow2")
	if python3 "$here/replay.py" "$temp/out/$name.medium" "$temp/$name.log" "$temp/out/$name.journal" $points \
		"${base[@]}" >"$temp/log" 2>&1; then
		echo "ok $count $(tail -n 1 "$temp/log")"
	else
		sed 's/^/# /' "$temp/log"
		echo "not ok $count $name"
		rc=1
	fi
done
echo "1..$count"
exit $rc
