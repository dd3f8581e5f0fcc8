#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A repair that dies at any of its writes leaves the image as it was, or mended.

here=$(dirname "$(readlink -f "$0")")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cc -shared -fPIC -O2 -Wall -Werror -D_GNU_SOURCE -o "$dir/cut.so" "$here/cut.c" -ldl || exit 1
python3 "$here/cut.py" "$dir" "$dir/cut.so"
