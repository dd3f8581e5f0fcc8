#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# An image in a file that FUSE serves: no direct path in the kernel, locks of its own, slow answers.

# shellcheck source=tests/kselftest/dm-qcow2/fuse.sh
. "$(dirname "$0")/fuse.sh"

scratch ext4
mkdir real
create real/a.qcow2 16M
truncate -s 16M model.raw
serve
attach q served/a.qcow2
exercise q model.raw 21 150
dmsetup suspend q
dmsetup resume q
exercise q model.raw 22 100
detach q
unserve
clean real/a.qcow2
same real/a.qcow2 model.raw
ok "FUSE"
