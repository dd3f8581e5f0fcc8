#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: again.sh FOLDER: what a power cut has left is attached and written to. Nothing is leaked that
# was not leaked before.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$(readlink -f "$0")")/../kselftest/dm-qcow2/lib.sh"

scratch ext4
cp "$1/base.qcow2" .
number=0
for state in "$1"/*.*; do
	name=$(basename "$state")
	[ "$name" != base.qcow2 ] || continue
	below=()
	case ${name%.*} in cow | subcluster) below=(-b qcow2:base.qcow2) ;; esac
	cp --sparse=always "$state" state.qcow2
	leaks() { { qemu-img check --output=json state.qcow2 2>/dev/null || true; } | sed -n 's/.*"leaks": \([0-9]*\).*/\1/p'; }
	[ "${#below[@]}" = 0 ] || qemu-img rebase -u -b base.qcow2 -F qcow2 state.qcow2
	before=$(leaks)
	SECTORS=32768 attach q state.qcow2 "${below[@]}"
	python3 - <<'PY'
import mmap, os, random
fd = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
buf = mmap.mmap(-1, 8192)
random.seed(9)
for n in range(80):
    buf[:] = bytes([n]) * 8192
    os.pwrite(fd, buf, random.randrange(4094) * 4096)
    if n % 30 == 29:
        os.fsync(fd)
PY
	is q mode rw
	detach q
	out=$(qemu-img check state.qcow2 2>&1) || [ $? = 3 ] || fail "$name: $out"
	after=$(leaks)
	[ "${after:-0}" -le "${before:-0}" ] || fail "$name: $before leaks before, $after after: $out"
	number=$((number + 1))
done
[ $number -gt 0 ] || fail "no states"
say "$number states attached again"
ok "attached again"
