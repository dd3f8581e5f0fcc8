#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The tool is killed at every step of putting a layer in; then its guardian too, and recover cleans up. With QCOW2_FULL=1
# so with the other kinds of layers, and at every step of taking them out (interpose_05 has era).
# timeout=150
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

need_module dm-era
need_module dm-snapshot
need_module dm-zero
scratch ext4
remembered 32M
# The parts are made and loaded; suspended, handed over, NAME.real resumed; NAME resumed.
for step in loop create load load:2 suspend message resume; do
	killed $step era
	as_before
done
killed resume:2 era
stands era
taken_out
ok "the tool is killed"

# First of all NAME.real is measured (load, resume); the last but one is NAME.frozen.
for step in loop load:4 suspend message resume:2 resume:3; do
	killed "$step!" snapshot
	as_before
done
killed resume:4! snapshot
stands snapshot-origin
want "the point in time" [ -n "$(dmsetup table q.frozen)" ]
taken_out
ok "the guardian is killed, too"

# each TARGET LAYER [OPTION...]: that one, in and out. Nothing is made over a file, not even over what is left of a copy.
each() {
	local target=$1 step fault
	shift
	for fault in '' !; do
		for step in $([ -n "$fault" ] || echo create load load:2) suspend message resume; do
			rm -f copy.raw
			killed "$step$fault" "$@"
			as_before
		done
		rm -f copy.raw
		killed "resume:2$fault" "$@"
		stands "$target"
		for step in load suspend suspend:2 message; do
			killed "$step$fault" --remove
			stands "$target"
		done
		killed "resume$fault" --remove
		as_before
	done
	ok "$1: killed at each step"
}

if [ -n "${QCOW2_FULL:-}" ]; then
	need_module dm-mirror
	each linear linear
	each delay delay --ms 1
	each flakey flakey --up 100 --down 0
	each linear raw --table ' linear {DEV} 0'
	each mirror mirror --to "$DIR/copy.raw"
fi
over
ok "image and data"
