#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A repair that dies at any of its writes leaves the image as it was, or mended.
# seconds=40

here=$(dirname "$(readlink -f "$0")")
# Where direct I/O has units of 512 bytes, or any: a tear has that many.
place=/dev/shm
[ -w $place ] || place=${TMPDIR:-/tmp}
dir=$(mktemp -d -p "$place")
trap 'rm -rf "$dir"' EXIT
cc -shared -fPIC -O2 -Wall -Werror -D_GNU_SOURCE -o "$dir/cut.so" "$here/cut.c" -ldl || exit 1
# shellcheck source=tests/edit/without.sh
. "$here/../edit/without.sh"
without "$dir" || exit 1
python3 "$here/cut.py" "$dir" "$dir/cut.so"
