#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: again.sh FOLDER: what a power cut has left is attached and written to. The disk is what QEMU sees
# (disks/), and what is written to it then; nothing is leaked that was not leaked before, and repair gives back what the
# cut has leaked.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$(readlink -f "$0")")/../kselftest/dm-qcow2/lib.sh"

look_at() { qemu-img check "$@" "${opened[@]}"; }
leaks() { { look_at --output=json 2>/dev/null || true; } | sed -n 's/.*"leaks": \([0-9]*\).*/\1/p'; }

scratch ext4
cp "$1/base.qcow2" .
number=0
repaired=0
for state in "$1"/*.*; do
	name=$(basename "$state")
	[ "$name" != base.qcow2 ] || continue
	more=()
	opened=(state.qcow2)
	case ${name%.*} in
	cow | cow-file | subcluster) more=(-b qcow2:base.qcow2) ;;
	datafile*)
		more=(data_file "$PWD/state.data")
		opened=(--image-opts "driver=qcow2,file.filename=state.qcow2,data-file.filename=state.data")
		tail -c +$((16 * 1048576 + 1)) "$state" >state.data
		;;
	esac
	cp --sparse=always "$state" state.qcow2
	[ "${more[0]:-}" != data_file ] || truncate -s 16M state.qcow2
	[ "${more[0]:-}" != -b ] || qemu-img rebase -u -b base.qcow2 -F qcow2 state.qcow2
	before=$(leaks)
	cp --sparse=always "$1/disks/$name" disk.raw
	SECTORS=32768 attach q state.qcow2 "${more[@]}"
	want "$name: not what QEMU sees" cmp -n 16M /dev/mapper/q disk.raw
	python3 - <<'PY'
import mmap, os, random
fd = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
raw = os.open("disk.raw", os.O_RDWR)
buf = mmap.mmap(-1, 8192)
random.seed(9)
for n in range(80):
    buf[:] = bytes([n]) * 8192
    at = random.randrange(4094) * 4096
    os.pwrite(fd, buf, at)
    os.pwrite(raw, buf, at)
    if n % 30 == 29:
        os.fsync(fd)
PY
	is q mode rw
	detach q
	qemu-img convert -O raw "${opened[@]}" after.raw
	want "$name: not what was written then" cmp -n 16M disk.raw after.raw
	out=$(look_at 2>&1) || [ $? = 3 ] || fail "$name: $out"
	after=$(leaks)
	[ "${after:-0}" -le "${before:-0}" ] || fail "$name: $before leaks before, $after after: $out"
	if [ "${after:-0}" -gt 0 ] && [ "${more[0]:-}" != data_file ]; then
		cp --sparse=always state.qcow2 leaky.qcow2
		"$QCOW2CTL" repair ./state.qcow2 >repair.log 2>&1 || fail "$name: repair: $(<repair.log)"
		clean state.qcow2
		qemu-img compare -q leaky.qcow2 state.qcow2 || fail "$name: repair has changed the disk"
		repaired=$((repaired + 1))
	fi
	number=$((number + 1))
done
[ $number -gt 0 ] || fail "no states"
[ $repaired -gt 0 ] || [ $number -lt 10 ] || fail "none of $number states had a leak: what repair does then was not seen"
say "$number states attached again, $repaired of them repaired"
ok "attached again"
