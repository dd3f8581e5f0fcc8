#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every function that the tour names exists.

set -eu
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2016
names=$(grep -oE '``[a-z_0-9]+``' Documentation/tour.rst | tr -d '`' | sort -u)
[ "$(wc -w <<<"$names")" -ge 15 ] || { echo "the tour names almost nothing"; exit 1; }
for name in $names; do
	grep -qE "^[a-z].*\b$name\(" kernel/*.[ch] || { echo "Documentation/tour.rst: no function $name"; exit 1; }
done
