#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The tool is killed after every step of every edit: the device runs again, with the old image or the new one.
# timeout=300
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
for edit in apply shrink; do
	want "killed in $edit" steps kill $edit
	ok "$edit of a device that nobody has open"
done
verifier /dev/mapper/q
EDIT_DEVICES=
for ((at = 0; at < 8; at++)); do
	truncate -s 40M device.$at
	loop device.$at
	EDIT_DEVICES+=" $LOOP"
done
export EDIT_DEVICES
for edit in delete create grow repair external device; do
	want "killed in $edit" steps kill "$edit"
	ok "$edit while fio verifies"
done
written
