#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What make demo shows when packages and kernels are there: all of the main job, and QEMU finds nothing wrong.

set -u
cd "$(dirname "$0")/../.." || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
complain() { echo "$*"; failed=1; }

scripts/demo >"$log" 2>&1 || complain "scripts/demo: exit $?"
# Each of these once or more: what a person is to see.
while read -r line; do
	grep -qxF -- "$line" <(sed 's/^ *//' "$log") || complain "not said: $line"
done <<'LINES'
== A base image, made by other tools: one ext4 and one xfs partition
$ qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 web1.qcow2
$ qcow2ctl attach --partscan --backing base.qcow2,format=qcow2 web1.qcow2 web1
$ qcow2ctl clone base.qcow2 web2.qcow2 web2
$ mount /dev/mapper/web1p1 /mnt/a
$ mount /dev/mapper/web1p2 /mnt/b
$ dmsetup table web1
hello from the base
written through the kernel
$ dmsetup suspend web1
$ dmsetup resume web1
$ qcow2ctl move web1 moved.qcow2
$ umount /mnt/a /mnt/b
$ qcow2ctl detach web1
Images are identical.
== What to try next
LINES
[ "$(grep -c "No errors were found on the image" "$log")" = 3 ] || complain "three images are not clean"
grep -q 'Failed to get .* lock' "$log" || complain "QEMU was not kept out"
[ $failed = 0 ] || cat "$log"
exit $failed
