#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Devices that fight over one image: exactly one wins, every time.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

export SECTORS=16384
scratch ext4
create a.qcow2 8M
line=$(table a.qcow2)
try() { dmsetup create "$1" --table "$line" 2>/dev/null; }
made q1 q2 q3
for ((round = 0; round < 10; round++)); do
	pids=()
	for name in q1 q2 q3; do
		try $name &
		pids+=($!)
	done
	winners=0
	for pid in "${pids[@]}"; do
		if wait "$pid"; then winners=$((winners + 1)); fi
	done
	[ $winners = 1 ] || fail "$winners winners in round $round"
	holds a.qcow2 "$RW 300"
	for name in q1 q2 q3; do
		gone $name || detach $name
	done
	holds a.qcow2 ""
done
ok "$round rounds"
clean a.qcow2
