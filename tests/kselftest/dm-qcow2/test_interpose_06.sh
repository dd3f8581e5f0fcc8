#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Layers come and go forty times while a model checks all that is written and read.
# timeout=150
# series=debug

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

cycles=40
[ -z "${QCOW2_FULL:-}" ] || cycles=1000
layers=(linear "delay --ms 0" "flakey --up 100 --down 0" snapshot era linear "mirror --to copy.raw" raw)
declare -A targets=([snapshot]=snapshot-origin [raw]=linear)
need_module dm-snapshot
need_module dm-mirror
scratch ext4
create base.qcow2 6M
io base.qcow2 'write -P 1 0 4M'
create -b base.qcow2 -F qcow2 a.qcow2
qemu-img convert -O raw a.qcow2 model.raw
attach q a.qcow2 -b qcow2:base.qcow2 commit_ms 100
NUMBER=$(number q)
remember
# The writer ends by itself, with all compared; another one follows while there are cycles.
( while [ ! -e enough ]; do
	exercise q model.raw $RANDOM 50 -d -p 100
done ) &
WRITER=$!
for ((cycle = 0; cycle < cycles; cycle++)); do
	read -ra words <<<"${layers[cycle % ${#layers[@]}]}"
	[ "${words[0]}" != raw ] || words+=(--table ' linear {DEV} 0')
	rm -f copy.raw
	does interpose q "${words[@]}"
	[[ $OUT =~ paused\ q\ for ]] || fail "cycle $cycle: ${words[*]}: $OUT"
	# The first of each kind is looked at.
	[ $cycle -ge ${#layers[@]} ] || stands "${targets[${words[0]}]:-${words[0]}}"
	does interpose q --remove
	[ -e "/proc/$WRITER" ] || fail "cycle $cycle: the writer has ended"
done
as_before
inactive next
want "device numbers are used up: $(number next)" [ "$(number next)" = "${NUMBER%:*}:$((${NUMBER#*:} + 1))" ]
dmsetup remove next
touch enough
wait $WRITER || fail "the device and the model differ"
WRITER=
is q mode rw
is q ioerrs 0
detach q
clean a.qcow2
same a.qcow2 model.raw
ok "$cycles times in and out"
