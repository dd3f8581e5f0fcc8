#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Images with damaged metadata cannot hurt who edits them.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")

python3 "$here/hostile.py" "${QCOW2CTL:-$here/../../userspace/qcow2ctl}" "$@"
