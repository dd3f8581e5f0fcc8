#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The same while a layer is taken out; and every step of both fails once.
# timeout=150
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

need_module dm-era
scratch ext4
remembered 32M
put_in era era
# Loaded; NAME suspended, NAME.real suspended; handed over; NAME resumed.
for step in load suspend suspend:2 message; do
	killed $step --remove
	stands era
	killed $step! --remove
	stands era
done
killed resume --remove
as_before
put_in era era
killed resume! --remove
as_before
ok "killed"

for step in loop create load load:2 suspend message resume resume:2; do
	fails_at $step era
	as_before
done
put_in era era
for step in load suspend suspend:2 message resume; do
	fails_at $step --remove
	stands era
done
taken_out
ok "failed"

# The kernel itself refuses to resume the layer, when the image has been handed over: a leg is too small for it.
need_module dm-mirror
truncate -s 1M small.raw
loop small.raw
remember
answers 1 "cannot|refuse|does not" interpose q raw --table "mirror core 1 1024 2 {DEV} 0 $LOOP 0"
echo "# $OUT"
want "the kernel took it at once, or refused to load it" grep -q "too small for target" <(dmesg)
as_before
put_in linear linear
taken_out
ok "a layer that is not resumed"
over
ok "image and data"
