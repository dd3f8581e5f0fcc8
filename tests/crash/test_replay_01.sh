#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Power cuts at recorded points: a machine records the workloads (those named, or all), their logs are replayed
# here, and some of the states are attached again in another machine.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
tree=$here/../..
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
points=28
kept=1
[ -z "${QCOW2_FULL:-}" ] || { points=0; kept=20; }
# In the order in which record.sh has them.
every=(allocate cow subcluster snapshot compressed mixed growth suspend file datafile datafile-sub database-wal database-delete
	allocate-file cow-file snapshot-file growth-file suspend-file database-wal-file)
workloads=()
for name in "${every[@]}"; do
	case " $* " in
	*" $name "*) ;;
	"  ") [[ -n ${QCOW2_FULL:-} || $name != @(datafile-sub|*-file) ]] || continue ;;
	*) continue ;;
	esac
	workloads+=("$name")
done
[ ${#workloads[@]} -gt 0 ] || { echo "$*: no such workloads" >&2; exit 1; }

echo "KTAP version 1"
disks=() recorded=() mib=48	# a medium
for name in "${workloads[@]}"; do
	[[ $name != datafile* ]] || continue
	truncate -s 2G "$temp/$name.log"
	disks+=(--disk "$temp/$name.log")
	recorded+=("$name")
done
truncate -s "$((mib * ${#recorded[@]}))M" "$temp/media"
"$tree/scripts/vm-run" --kernel 6.12 --mem 1536 --timeout "${QCOW2_FULL:+1}450" --out "$temp/out" \
	--env "WORKLOADS=${workloads[*]}" ${QCOW2_FULL:+--env QCOW2_FULL=1} "${disks[@]}" --disk "$temp/media" \
	"$here/record.sh" >"$temp/record" 2>&1 ||
	{ sed 's/^/# /' "$temp/record"; echo "not ok 1 recording"; echo "1..1"; exit 1; }
for at in "${!recorded[@]}"; do
	dd if="$temp/media" of="$temp/out/${recorded[at]}.medium" bs=1M skip=$((at * mib)) count=$mib status=none
done
rm "$temp/media"
mkdir "$temp/kept"

# replay NAME: leaves what it says, and whether all is well.
replay() {
	local name=$1 points=$points log=$temp/$1.log rc=0
	local -a options=()
	case $name in
	# What was there before: below the image, or in it.
	cow | cow-file | subcluster) options=(--base "$temp/out/base.qcow2") ;;
	compressed) options=(--base "$temp/out/packed.qcow2") ;;
	datafile*)
		log=$temp/out/$name.log
		options=(--data 32768)
		# Each is looked at in three forms.
		points=$((points / 2))
		;;
	esac
	[[ $name != @(file|*-file|database-delete) ]] || options+=(--file image.qcow2)
	python3 "$here/replay.py" "$temp/out/$name.medium" "$log" "$temp/out/$name.journal" $points \
		--keep "$temp/kept" $kept "${options[@]}" >"$temp/$name.said" 2>&1 || rc=$?
	echo $rc >"$temp/$name.rc"
}
for name in "${workloads[@]}"; do
	[ "$(jobs -rp | wc -l)" -lt "$(nproc)" ] || wait -n
	replay "$name" &
done
wait

count=0
rc=0
# report GOOD TEXT
report() {
	count=$((count + 1))
	[ "$1" = 0 ] || rc=1
	echo "$([ "$1" = 0 ] || echo "not ")ok $count $2"
}
for name in "${workloads[@]}"; do
	if [ "$(cat "$temp/$name.rc")" = 0 ]; then
		report 0 "$(tail -n 1 "$temp/$name.said")"
	else
		sed 's/^/# /' "$temp/$name.said"
		report 1 "$name"
	fi
done
cp "$temp/out/base.qcow2" "$temp/kept/"
if "$tree/scripts/vm-run" --kernel 6.12 --mem 1024 --smp 1 --timeout "${QCOW2_FULL:+1}450" --rw "$temp/kept" "$here/again.sh" "$temp/kept" \
	>"$temp/again" 2>&1; then
	report 0 "$(grep "^# " "$temp/again" | tail -n 1 | cut -c3-)"
else
	sed 's/^/# /' "$temp/again"
	report 1 "states attached again"
fi
echo "1..$count"
exit $rc
