#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every malformed image of hostile.manifest: refused with its sentence, or attached with errors only where
# the damage is; and where metadata lies about what is free, guest data never hits metadata.
# timeout=240

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
hostile.py "$DIR"
say "made after $SECONDS s"
out=$(hostile_attach "$DIR") || fail "$out"
say "$out after $SECONDS s"
count=$(grep -c '^image ' plan)
want "there are only $count images" [ "$count" -ge 200 ]
for image in w_over_*; do
	[[ $image = *.other ]] || clean "$image"
done
ok "$count images"
