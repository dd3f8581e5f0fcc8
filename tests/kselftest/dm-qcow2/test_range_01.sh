#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Reading and writing at the end and beyond; a shorter table; an image cut behind our back.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create a.qcow2 1049088
attach q a.qcow2
dd if=/dev/urandom of=/dev/mapper/q bs=512 seek=2048 count=1 oflag=direct status=none
dd if=/dev/zero of=/dev/mapper/q bs=512 seek=2049 count=1 oflag=direct status=none 2>/dev/null &&
	fail "wrote beyond the end"
want "read beyond the end" [ "$(dd if=/dev/mapper/q bs=512 skip=2049 count=1 status=none | wc -c)" = 0 ]
detach q
clean a.qcow2
ok "a size that is no multiple of a cluster"
SECTORS=100 attach q a.qcow2
want "length" [ "$(blockdev --getsz /dev/mapper/q)" = 100 ]
detach q
ok "a shorter table"
qemu-io -f qcow2 -c 'write -P 7 0 1M' a.qcow2 >/dev/null
attach q a.qcow2 hop always
truncate -s 200k a.qcow2
dd if=/dev/mapper/q of=/dev/null bs=64k status=none 2>/dev/null || say "reads of what is gone fail"
dmsetup remove --retry q
ok "an image that was cut while attached"
