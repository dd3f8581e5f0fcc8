#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# An image in a file that FUSE serves: no direct path in the kernel, locks of its own, slow answers.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

command -v bindfs >/dev/null || skip "no bindfs"
scratch ext4
need_module fuse
mkdir -p real served
create real/a.qcow2 16M
truncate -s 16M model.raw
bindfs -f real served &
daemon=$!
MOUNTS+=("$DIR/served")
until mountpoint -q served; do
	kill -0 $daemon || fail "nobody serves the folder"
	sleep 0.1
done
attach q served/a.qcow2
exercise q model.raw 21 150
dmsetup suspend q
dmsetup resume q
exercise q model.raw 22 100
detach q
umount served
wait $daemon || true
clean real/a.qcow2
same real/a.qcow2 model.raw
ok "FUSE"
