#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Edits that a signal ends, or a full disk; what they say while they work.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
folder=$(mktemp -d)
small=
trap '[ -z "$small" ] || umount "$small"; rm -rf "$folder"' EXIT

${CC:-cc} -D_GNU_SOURCE -O1 -shared -fPIC -o "$folder/record.so" "$here/record.c" -ldl
# What is mounted later, the namespace of the tool need not see.
if [ "$(id -u)" = 0 ]; then
	mkdir "$folder/small"
	mount -t tmpfs -o size=1500k none "$folder/small"
	small=$folder/small
fi
# shellcheck source=tests/edit/without.sh
. "$here/without.sh"
without "$folder" || exit 1
python3 "$here/interrupt.py" "${QCOW2CTL:-$here/../../userspace/qcow2ctl}" "$folder/record.so" ${small:+"$small"}
