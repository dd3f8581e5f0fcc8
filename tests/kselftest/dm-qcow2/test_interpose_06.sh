#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Layers come and go many times under a writer; with QCOW2_FULL=1 1000 times, on the debug kernel 40 times.
# timeout=300
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

scratch ext4
remembered 32M
rounds=8
[ -z "${QCOW2_FULL:-}" ] || rounds=1000
[ "${VM_KERNEL:-}" != debug ] || rounds=40
read -r first < <(dmsetup info -c --noheadings -o minor q)
for ((round = 0; round < rounds; round++)); do
	does interpose q linear
	does interpose q --remove
done
as_before
inactive next
read -r last < <(dmsetup info -c --noheadings -o minor next)
want "device numbers are used up: $last" [ "$last" = $((first + 1)) ]
dmsetup remove next
ok "$rounds rounds"
over
ok "image and data"
