#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A chain of four layers; nothing but the top is ever written.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
head -c 6000128 /dev/urandom >l3.raw
create -b l3.raw -F raw -o cluster_size=4k l2.qcow2 9M
qemu-io -f qcow2 -c 'write -P 2 2M 1M' l2.qcow2 >/dev/null
create -b l2.qcow2 -F qcow2 -o cluster_size=64k,compat=0.10 l1.qcow2 7M
qemu-io -f qcow2 -c 'write -P 1 2500k 1M' l1.qcow2 >/dev/null
create -b l1.qcow2 -F qcow2 -o cluster_size=16k a.qcow2 10M
qemu-img convert -f qcow2 -O raw a.qcow2 model.raw
md5sum l3.raw l2.qcow2 l1.qcow2 >sums
attach q a.qcow2 -b qcow2:l1.qcow2 -b qcow2:l2.qcow2 -b raw:l3.raw
is q layers 4
want "content differs" cmp model.raw /dev/mapper/q
exercise q model.raw 8 100
detach q
clean a.qcow2
same a.qcow2 model.raw
want "a lower layer was written" md5sum --quiet -c sums
ok "four layers"
