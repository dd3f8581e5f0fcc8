#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The recipes of Documentation/containers.rst for containerd and LXC, in a machine.
# full

set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
for program in ctr containerd lxc-start; do
	command -v $program >/dev/null || { echo "1..0 # SKIP no $program"; exit 4; }
done
exec scripts/vm-run --kernel "${KERNEL:-6.12}" --mem 2048 --timeout 240 tests/boot/runtimes.sh
