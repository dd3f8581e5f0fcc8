#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every user program around a device is killed at random moments: fio with requests under way, qcow2ctl, dmsetup,
# mount. The device goes on, nothing keeps the image, and what was not touched stays as it was.
# cpus=2
# timeout=150
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
made p
mounted 64M 0.01
create b.qcow2 24M
attach p b.qcow2
mkfs.ext4 -q -O ^has_journal /dev/mapper/p 8M
device_io p 'write -P 5 20M 2M'
detach p
want "the device minds" python3 "$HERE/kill.py" "$QCOW2CTL" q p "$DIR/b.qcow2" "${ROUNDS:-${QCOW2_FULL:+3}3}"
ok "killed at random moments"
io b.qcow2 'read -P 5 20M 2M'
clean b.qcow2
stop_writer
runs q
umount /mnt/guest
detach q
clean a.qcow2
ok "its neighbour has not noticed"
