#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Containers of runc, and what each costs, in a machine that counts instructions: two nanoseconds for each, whatever else goes on
# here. Five, with QCOW2_FULL=1 fifty.

set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
command -v runc >/dev/null || { echo "1..0 # SKIP no runc"; exit 4; }
exec scripts/vm-run --kernel "${KERNEL:-6.12}" --icount 1 --mem 2048 --timeout 900 --env "QCOW2_FULL=${QCOW2_FULL:-}" \
	tests/kselftest/dm-qcow2/test_container_01.sh
