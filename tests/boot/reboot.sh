#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: reboot.sh first|second STEP WORD...    an edit of q is killed after a step and the machine goes down;
# or the machine that comes after it.

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$(readlink -f "$0")")/../kselftest/dm-qcow2/edit.sh"

phase=$1 step=$2
shift 2
load_target
modprobe ext4
mkdir -p "$DIR"
[ "$phase" = second ] || mkfs.ext4 -qF "$VM_DISKS"
mount "$VM_DISKS" "$DIR"
cd "$DIR"
if [ "$phase" = first ]; then
	create a.qcow2 16M
	attach q a.qcow2
	dd if=/dev/urandom of=model.raw bs=1M count=8 status=none
	truncate -s 16M model.raw
	dd if=model.raw of=/dev/mapper/q bs=1M count=8 oflag=direct conv=fsync status=none
	sync
	LD_PRELOAD=$(command -v edit_step.so) EDIT_AT=$step EDIT_DO=both "$QCOW2CTL" "$@" 2>said && fail "it was not killed"
	want "no copy of the intent" [ -s a.qcow2.q.intent ]
	echo "# goes down"
	sleep 0.5	# until the host has read that
	echo b >/proc/sysrq-trigger
	sleep 60
fi
want "no copy of the intent has outlived it" [ -s a.qcow2.q.intent ]
attach q a.qcow2
does recover q
[[ $OUT == *"q: the machine went down"* ]] || fail "recover: $OUT"
want "a copy is left" [ ! -e a.qcow2.q.intent ]
want "an overlay is left" [ ! -e b.qcow2 ]
does recover
[ -z "$OUT" ] || fail "recover finds something still: $OUT"
detach q
want "the image has errors" qemu-img check -q -r leaks a.qcow2 >/dev/null
truncate -s "$(($(sectors a.qcow2) * 512))" model.raw
same a.qcow2 model.raw
ok "recovered"
