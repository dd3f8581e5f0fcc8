#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every edit of every kind of image, cut after each of its writes.
# seconds=85

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

${CC:-cc} -D_GNU_SOURCE -O1 -shared -fPIC -o "$folder/record.so" "$here/record.c" -ldl
# shellcheck source=tests/edit/without.sh
. "$here/without.sh"
without "$folder" || exit 1
python3 "$here/replay.py" "${QCOW2CTL:-$here/../../userspace/qcow2ctl}" "$folder/record.so" "$@"
