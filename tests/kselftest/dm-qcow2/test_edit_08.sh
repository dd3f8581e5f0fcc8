#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The tool is killed after every step of every edit: the device runs again, with the old image or the new one.
# timeout=300
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

STEP=$(command -v edit_step.so) || fail "edit_step.so is not built"
steps() { python3 "$HERE/edit_steps.py" "$QCOW2CTL" "$STEP" q "$DIR/a.qcow2" "$@"; }

scratch ext4
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
for edit in apply shrink; do
	want "killed in $edit" steps kill $edit
	ok "$edit of a device that nobody has open"
done
writer /dev/mapper/q
for edit in delete create grow repair external; do
	want "killed in $edit" steps kill $edit
	ok "$edit under a writer"
done
stop_writer
runs q
detach q
for image in *.qcow2; do
	clean "$image"
done
ok "the images are clean"
