#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Twenty snapshots in a row of a file system under a writer: each is clean and has its own content.
# timeout=200

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

busy 32M
for nr in {1..20}; do
	echo "mark $nr" >/mnt/guest/mark
	pauses snapshot create q "s$nr"
done
for nr in 5 6 7; do
	pauses snapshot delete q "s$nr"
done
stop_writer
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
detach q
clean a.qcow2
ok "twenty creates, three deletes"
for nr in {1..4} {8..20}; do
	qemu-img convert -l "s$nr" -O raw a.qcow2 s.raw
	want "s$nr is not clean" e2fsck -fn s.raw >/dev/null 2>&1
	want "content of s$nr" [ "$(debugfs -R "cat /mark" s.raw 2>/dev/null)" = "mark $nr" ]
done
ok "their content"
