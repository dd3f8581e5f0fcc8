#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A full backup and three increments, taken while the device is written, are the disk at each point: by
# layer era, and by internal snapshots. Changes are listed exactly.
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/backup.sh
. "$(dirname "$0")/backup.sh"

# chain NAME: NAME.qcow2 to NAME3.qcow2 show what the disk was.
chain() {
	local at
	for at in 0 1 2 3; do
		same "$1$at.qcow2" "$1$at.raw"
		clean "$1$at.qcow2"
	done
}

# lists TEXT OPTION...: changes --json, as START+LENGTH:KIND.
lists() {
	local text=$1 out
	shift
	out=$("$QCOW2CTL" changes q "$@" --json | python3 -c 'import json, sys
for e in json.load(sys.stdin):
    assert set(e) == {"start", "length", "data", "zero"} and e["data"] != e["zero"], e
    print("%d+%d:%s" % (e["start"] >> 16, e["length"] >> 16, "data" if e["data"] else "zero"), end=" ")')
	[ "$out" = "$text " ] || [ "$out" = "$text" ] || fail "changes $*: '$out', not '$text'"
}

write() { dd if=/dev/urandom of=/dev/mapper/q bs=64k seek="$1" count="$2" oflag=direct conv=notrunc status=none; }

need_module dm-era
scratch ext4
create base.qcow2 6M
io base.qcow2 'write -P 9 1M 4M'
create -b base.qcow2 -F qcow2 a.qcow2 8M
qemu-img convert -O raw a.qcow2 model.raw
attach q a.qcow2 -b qcow2:base.qcow2
answers 3 "no layer era" checkpoint q
answers 3 "no layer era" changes q
# Of a discard the layer notes where it begins; and blocks that are less than a cluster.
put_in era era --block 4K
want "the first number" [ "$("$QCOW2CTL" checkpoint q)" = 1 ]
answers 3 "no checkpoint 7, the last is 1" backup q --to e0.qcow2 --since 7
exercise q model.raw 1 60 -d
cp model.raw e0.raw
last=$("$QCOW2CTL" backup q --to e0.qcow2 --checkpoint 2>/dev/null)
for at in 1 2 3; do
	blkdiscard -o $((at * 320))K -l 4M /dev/mapper/q
	dd if=/dev/zero of=model.raw bs=64k seek=$((at * 5)) count=64 conv=notrunc status=none
	exercise q model.raw "1$at" 25 -d
	cp model.raw "e$at.raw"
	begun log --to "e$at.qcow2" --since "$last" --base "e$((at - 1)).qcow2,format=qcow2" --bwlimit 512K --checkpoint >number
	exercise q model.raw "2$at" 25 -d
	ended 0 q.real
	old=$last
	last=$(<number)
	[ "$last" -gt "$old" ] || fail "number $last after $old"
done
stands era
chain e
ok "increments by era"

write 3 3
write 16 6
write 40 5
last=$("$QCOW2CTL" checkpoint q)
blkdiscard -o 1M -l 256K /dev/mapper/q
dd if=/dev/urandom of=/dev/mapper/q bs=4k seek=$((18 * 16 + 3)) count=1 oflag=direct conv=notrunc status=none
lists "16+2:zero 18+1:data 19+1:zero" --since "$last"
last=$("$QCOW2CTL" checkpoint q)
write 3 2
write 20 1
does snapshot create q between
write 40 4
lists "3+2:data 20+1:data 40+4:data" --since "$last"
dmsetup message q 0 take_metadata_snap
lists "3+2:data 20+1:data 40+4:data" --since "$last"
next=$("$QCOW2CTL" checkpoint q)
lists "" --since "$next"
lists "40+4:data" --since between
does changes q --since "$last"
[[ $OUT == *"0x30000 "*"0x20000 "*data*"0x140000 "*"0x280000 "*data* ]] || fail "changes: $OUT"
answers 3 "no snapshot" changes q --since nothing
pauses interpose q --remove
fallocate -z -o $((41 << 16)) -l 65536 /dev/mapper/q
fallocate -p -o $((3 << 16)) -l 65536 /dev/mapper/q
lists "3+1:zero 40+1:data 41+1:zero 42+2:data" --since between
does snapshot delete q between
cp /dev/mapper/q model.raw
ok "changes"

does snapshot create q s0
for at in 0 1 2 3; do
	options=()
	[ "$at" = 0 ] || options=(--since "s$((at - 1))" --base "s$((at - 1)).qcow2,format=qcow2")
	[ "$at" = 0 ] || does snapshot create q "s$at"
	cp model.raw "s$at.raw"
	begun log --to "s$at.qcow2" "${options[@]}" --bwlimit 1M
	exercise q model.raw "3$at" 25
	ended 0
done
chain s
detach q
clean a.qcow2
ok "increments by snapshots"
