#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Copies from a base to an image, both in files that FUSE serves: it takes references to single pages of what it
# is given, as network file systems do.

# shellcheck source=tests/kselftest/dm-qcow2/fuse.sh
. "$(dirname "$0")/fuse.sh"

scratch ext4
mkdir real
create real/base.qcow2 32M
qemu-io -c 'write -P 33 0 32M' real/base.qcow2 >/dev/null
create -u -b "$DIR/served/base.qcow2" -F qcow2 real/a.qcow2 32M
head -c 32M /dev/zero | tr '\0' '\41' >model.raw
serve
attach q served/a.qcow2 -b qcow2:served/base.qcow2
exercise q model.raw 23 250
[ "$(field q cows)" -gt 50 ] || fail "only $(field q cows) copies"
detach q
clean served/a.qcow2
same served/a.qcow2 model.raw
unserve
ok "FUSE"
