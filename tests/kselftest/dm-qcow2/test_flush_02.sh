#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# FLUSH and FUA: what is acknowledged is on the medium, mapping included; status tells the commits.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create -o cluster_size=64k a.qcow2 8M
attach q a.qcow2 commit_ms 3600000
dd if=/dev/urandom of=data bs=4k count=1 status=none
# What the medium holds is what a reader of the file finds while nothing is committed behind its back.
medium() { qemu-img convert -U -f qcow2 -O raw a.qcow2 now.raw && cmp -s -n 4096 -i "0:$1" data now.raw; }
dd if=data of=/dev/mapper/q bs=4k seek=16 oflag=direct status=none
medium 65536 && fail "the mapping is on the medium before any commit"
is q commits 0
[ "$(field q staged)" -gt 0 ] || fail "nothing is staged"
sync /dev/mapper/q
medium 65536 || fail "flushed data is not on the medium"
is q commits 1
ok "flush"
dd if=data of=/dev/mapper/q bs=4k seek=32 oflag=direct,dsync status=none
medium 131072 || fail "FUA data is not on the medium"
ok "synchronous write of a new cluster"
dd if=data of=/dev/mapper/q bs=4k seek=48 oflag=direct status=none
dd if=data of=/dev/mapper/q bs=4k seek=49 oflag=direct,dsync status=none
medium $((49 * 4096)) || fail "FUA into a cluster whose mapping was staged is not on the medium"
ok "synchronous write through an unsettled mapping"
commits=$(field q commits)
barriers=$(field q barriers)
sync /dev/mapper/q
[ $(($(field q barriers) - barriers)) -le 1 ] || fail "an idle flush took more than a barrier"
say "commits $commits"
detach q
clean a.qcow2
ok "idle flush"
