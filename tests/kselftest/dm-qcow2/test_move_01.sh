#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A mounted device with a writer on it moves to another image, and from there to a raw file.
# timeout=150
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/move.sh
. "$(dirname "$0")/move.sh"

need_module dm-mirror
scratch ext4 500
begun 32M -o cluster_size=32k
head -c 8M /dev/urandom >/mnt/guest/known
sync -f /mnt/guest
sum=$(md5sum </mnt/guest/known)
# content: nobody writes that file, and it has been elsewhere.
content() {
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(md5sum </mnt/guest/known)" = "$sum" ] || fail "another content"
}

inode=$(stat -c %t:%T /dev/mapper/q)
does move q b.qcow2
[[ $OUT == *"paused q for "*"paused q for "* ]] || fail "no pauses: $OUT"
moved b.qcow2
want "another device" [ "$(stat -c %t:%T /dev/mapper/q)" = "$inode" ]
[[ $("$QCOW2CTL" info --json ./b.qcow2) == *cluster_size*32768* ]] || fail "another cluster size"
stale a.qcow2 b.qcow2
content
ok "to another image"

does move q c.raw --format raw --bwlimit 16M
alone
[[ $(dmsetup table q) == *" linear "* ]] || fail "$(dmsetup table q)"
want "c.raw is not under it" [ -n "$(losetup -n -O NAME -j c.raw)" ]
stale b.qcow2 c.raw
content
does list
answers 1 "has no image" snapshot create q s1
stop_writer
sync -f /mnt/guest
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
want "c.raw is another one" cmp /dev/mapper/q c.raw
does detach q
want "a loop device stays" [ -z "$(losetup -n -O NAME -j c.raw)" ]
want "fsck of the file" e2fsck -fn c.raw >/dev/null 2>&1
clean a.qcow2
clean b.qcow2
ok "to a raw file"
