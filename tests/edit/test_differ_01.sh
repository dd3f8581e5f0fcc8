#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Random edits by qcow2ctl and by qemu-img have the same outcome.
# seconds=50

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")

python3 "$here/differ.py" "${QCOW2CTL:-$here/../../userspace/qcow2ctl}" "$@"
