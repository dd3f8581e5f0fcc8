#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A FUA write to a cluster whose mapping is written, but not durable yet, waits for a barrier, also when the mapping was
# pushed out of memory and read again meanwhile.
# timeout=100

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
mkdir -p /mnt/above
MOUNTS+=(/mnt/above)
modprobe xfs
create base.qcow2 320M
attach b base.qcow2
mkfs.xfs -qf /dev/mapper/b
mount /dev/mapper/b /mnt/above
dd if=/dev/urandom of=/mnt/above/file bs=64k count=4 oflag=direct status=none
umount /mnt/above
detach b
create -b base.qcow2 -F qcow2 a.qcow2
attach q a.qcow2 -b qcow2:base.qcow2 commit_ms 6000
mount -o noatime,lazytime /dev/mapper/q /mnt/above
sync -f /mnt/above

# XFS sends a write that is to be durable, to blocks that are there, by FUA alone.
overwrite() { dd if=/dev/urandom of=/mnt/above/file bs=4k count=1 seek="$1" "oflag=direct${2:-}" conv=notrunc status=none; }
overwrite 16 ,dsync
staged=$(field q allocs)
before=$(field q commits)
overwrite 32
want "the write did not allocate" [ "$(field q allocs)" -gt "$staged" ]
until [ "$(field q commits)" -gt "$before" ]; do sleep 0.1; done
is q staged 0
before=$(field q barriers) misses=$(field q misses)
echo 2 >/proc/sys/vm/drop_caches
overwrite 32 ,dsync
want "the mapping was not read again" [ "$(field q misses)" -gt "$misses" ]
want "no barrier before the answer" [ "$(field q barriers)" -gt "$before" ]
before=$(field q barriers)
overwrite 32 ,dsync
want "a barrier for what is durable" [ "$(field q barriers)" = "$before" ]
umount /mnt/above
detach q
clean a.qcow2
ok "FUA waits for a mapping that is not durable"
