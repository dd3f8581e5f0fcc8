#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Images on xfs, btrfs and tmpfs.
# timeout=150

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

load_target
for fs in xfs btrfs tmpfs; do
	scratch $fs 500
	create -o cluster_size=64k a.qcow2 16M
	truncate -s 16M model.raw
	attach q a.qcow2
	exercise q model.raw 21 100
	exercise q model.raw 22 60 -w -m 300
	detach q
	clean a.qcow2
	same a.qcow2 model.raw
	cd /
	umount "$DIR"
	ok "$fs"
done
