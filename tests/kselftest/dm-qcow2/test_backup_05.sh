#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Backups of a mounted file system that is written: writers hardly notice, and what was backed up is a file
# system in order.
# cpus=2
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/backup.sh
. "$(dirname "$0")/backup.sh"

need_module dm-snapshot
scratch ext4
create a.qcow2 48M
attach q a.qcow2
mkfs.ext4 -q /dev/mapper/q
mkdir -p /mnt/guest
mount /dev/mapper/q /mnt/guest
MOUNTS+=(/mnt/guest)
echo frozen >/mnt/guest/mark
# A quarter of what is there is written, all over, as a database does it.
dd if=/dev/urandom of=/mnt/guest/data bs=1M count=18 status=none
dd if=/dev/urandom of=/mnt/guest/hot bs=1M count=6 status=none
sync -f /mnt/guest
for via in view snapshot; do
	python3 "$HERE/backup_load.py" /mnt/guest/hot "$QCOW2CTL" backup q --to $via.qcow2 --via $via || fail "$via"
	untouched
	clean $via.qcow2
	qemu-img convert -O raw $via.qcow2 $via.raw
	want "$via: fsck" e2fsck -fn $via.raw >/dev/null 2>&1
	[ "$(debugfs -R 'cat mark' $via.raw 2>/dev/null)" = frozen ] || fail "$via: no mark"
	rm $via.qcow2 $via.raw
	ok "$via"
done
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
detach q
clean a.qcow2
ok "the image is clean"
