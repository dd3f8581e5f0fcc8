#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The machine goes down in the middle of an edit whose tool and guardian were killed; after the next boot recover finds
# what the edit has left, and the image is whole.
# full

# shellcheck source=tests/boot/lib.sh
. "$(dirname "$0")/lib.sh"

# boot PHASE STEP WORD...: one life of the machine; its disk outlives it.
boot() {
	scripts/vm-run --kernel "${KERNEL:-6.12}" --mem 1024 --timeout 200 --disk "$temp/disk" tests/boot/reboot.sh "$@" >"$temp/out" 2>&1
}

# cut STEP WORD...: an edit that has got so far when the power goes.
cut() {
	rm -f "$temp/disk"
	truncate -s 200M "$temp/disk"
	boot first "$@"
	[ $? = 125 ] && grep -q "^# goes down" "$temp/out"
	result "down after the step $1 of ${*:2}" $?
	boot second "$@"
	result "recovered" $?
}

cut link snapshot create --external b.qcow2 q
cut write snapshot create q s1
cut header resize q +1M
echo "1..$n"
exit "$bad"
