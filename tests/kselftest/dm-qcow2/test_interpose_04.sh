#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The tool is killed at every step of putting a layer in; then its guardian too, and recover cleans up.
# timeout=150
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

need_module dm-era
need_module dm-snapshot
scratch ext4
remembered 32M
for point in state real loaded suspended handed below frozen; do
	killed $point era
	as_before
done
killed resumed era
stands era
taken_out
ok "the tool is killed"

for point in state loaded suspended handed below frozen; do
	killed "$point!" snapshot
	as_before
done
killed resumed! snapshot
stands snapshot-origin
want "the point in time" [ -n "$(dmsetup table q.frozen)" ]
taken_out
ok "the guardian is killed, too"
over
ok "image and data"
