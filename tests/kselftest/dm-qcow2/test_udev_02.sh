#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# With udev, which has a device open for a moment whenever its table changes: that is nobody who keeps it from shrinking.
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

# shellcheck source=tests/kselftest/dm-qcow2/udev.sh
. "$HERE/udev.sh"
scratch ext4
create a.qcow2 64M
trap 'rc=$?; udev_stop; cleanup $rc' EXIT
udev_start
does attach a.qcow2 q
made q
for ((round = 1; round <= 10; round++)); do
	does resize --shrink --nolockfs q -1M
	want "round $round: its length" [ "$(blockdev --getsize64 /dev/mapper/q)" = $(((64 - round) << 20)) ]
done
exec {fd}</dev/mapper/q
answers 5 "device is in use" resize --shrink q -1M
exec {fd}<&-
does detach q
clean a.qcow2
ok "ten times smaller with udev"
