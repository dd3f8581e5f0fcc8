#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Layers come and go many times under a writer; 40 times with QCOW2_FULL=1.
# timeout=300

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

scratch ext4
mounted 32M
rounds=8
[ -z "${QCOW2_FULL:-}" ] || rounds=40
for ((round = 0; round < rounds; round++)); do
	does interpose q linear
	does interpose q --remove
done
as_before
read -r last < <(dmsetup info -c --noheadings -o minor q)
want "device numbers are used up" [ "$last" = 0 ]
ok "$rounds rounds"
over
ok "image and data"
