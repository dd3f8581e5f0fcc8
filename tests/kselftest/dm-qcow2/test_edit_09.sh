#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Tool and guardian are killed after every step of an edit: recover makes the device run, old or new.
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
want "killed in shrink" steps both shrink
ok "shrink of a device that nobody has open"
writer /dev/mapper/q
for edit in grow ${QCOW2_FULL:+create delete repair external}; do
	want "killed in $edit" steps both "$edit"
	ok "$edit under a writer"
done
written
