#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every variety of rows.table (or those with a WORD in the name) on KERNELS: what the device shows is what
# qemu-img reads; then random writes, zeroes and discards; detached, qemu-img finds nothing wrong and reads what
# was written. The images go to the machine on a disk and come back on it: QEMU runs here, where it is fast.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
tree=$here/../..
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
read -ra kernels <<<"${KERNELS:-6.1 6.12}"

echo "KTAP version 1"
mkdir "$temp/rows"
"$here/rows.py" make "$temp/rows" "$@"
kib=$(du -sk --apparent-size "$temp/rows" | cut -f1)
mke2fs -q -t ext4 -E lazy_itable_init=0,nodiscard -d "$temp/rows" "$temp/disk" $((kib * 3 / 2 + 200 * 1024))k >/dev/null

# one SERIES: a machine, and what came back.
one() {
	local series=$1 rc=0 cpus=${QCOW2_FULL:+2}
	cp --sparse=always "$temp/disk" "$temp/disk.$series"
	"$tree/scripts/vm-run" --kernel "$series" --smp "${cpus:-1}" --disk "$temp/disk.$series" --timeout "${QCOW2_FULL:+9}280" "$here/rows.sh" \
		>"$temp/log.$series" 2>&1 || rc=$?
	[ "$rc" = 0 ] || echo "# $series: vm-run $rc" >>"$temp/log.$series"
	mkdir "$temp/back.$series"
	debugfs -R "rdump / $temp/back.$series" "$temp/disk.$series" >/dev/null 2>"$temp/debugfs.$series"
	"$here/rows.py" judge "$temp/back.$series" >"$temp/judged.$series" 2>&1 || cat "$temp/judged.$series" >>"$temp/log.$series"
	echo "$rc" >"$temp/rc.$series"
}

for series in "${kernels[@]}"; do
	one "$series" &
done
wait
python3 - "$temp" "$(cut -d' ' -f2 "$temp/rows/plan")" "${kernels[@]}" <<'PY'
import sys
folder, names, bad, number = sys.argv[1], sys.argv[2].split(), 0, 0
logs, judged = {}, {}
for series in sys.argv[3:]:
    with open(f"{folder}/log.{series}", errors="replace") as log, open(f"{folder}/judged.{series}") as file:
        logs[series] = log.read().splitlines()
        judged[series] = dict(line.rstrip("\n").split(" ", 1) for line in file if " " in line)
for number, name in enumerate(names, 1):
    said = [f"# {series}: {line[2:]}" for series in logs for line in logs[series] if line.startswith(f"# {name}: ")]
    said += [f"# {series}: {name}: {found.get(name, 'was not judged')}" for series, found in judged.items()
             if found.get(name) != "good"]
    print(*said, f"{'not ' if said else ''}ok {number} - {name}", sep="\n")
    bad += bool(said)
for series, lines in logs.items():
    number += 1
    with open(f"{folder}/rc.{series}") as file:
        good = file.read().strip() == "0" and any(line.startswith("ok 1 all rows") for line in lines)
    if not good:
        print(*(f"# {line}" for line in lines[-40:]), sep="\n")
    summary = [line for line in lines if " images: " in line]
    print(f"{'' if good else 'not '}ok {number} - {series} ({summary[-1][2:] if summary else 'no end'})")
    bad += not good
print(f"1..{number}")
sys.exit(1 if bad else 0)
PY
