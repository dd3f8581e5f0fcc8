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
for point in loaded suspended below handed; do
	killed $point --remove
	stands era
	killed $point! --remove
	stands era
done
killed resumed --remove
as_before
put_in era era
killed resumed! --remove
as_before
ok "killed"

for point in state real loaded suspended handed below frozen; do
	QCOW2CTL_FAULT=$point= answers 1 "Input/output error" interpose q era
	as_before
done
put_in era era
for point in loaded suspended below handed; do
	QCOW2CTL_FAULT=$point= answers 1 "Input/output error" interpose q --remove
	stands era
done
taken_out
ok "failed"
over
ok "image and data"
