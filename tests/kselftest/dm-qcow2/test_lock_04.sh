#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# overlayfs: two inodes are one image; read-only, and only as long as nothing is copied up.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

SECTORS=16384
scratch ext4
need_module overlay
mkdir low up work merged
create low/a.qcow2 8M
qemu-io -c 'write -P 7 0 64k' low/a.qcow2 >/dev/null
cp low/a.qcow2 up/b.qcow2
mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work merged
MOUNTS+=("$DIR/merged")

refused "not supported" "give the path in the upper layer" attach bad merged/b.qcow2
refused "not supported" "give the path in the upper layer" attach bad merged/a.qcow2
[ ! -e up/a.qcow2 ] || fail "the refused load has copied the image up"
ok "no writing on overlayfs"

attach q low/a.qcow2
refused "Device or resource busy" "in use by device q" attach_ro bad merged/a.qcow2
detach q
attach q up/b.qcow2
refused "Device or resource busy" "in use by device q" attach_ro bad merged/b.qcow2
detach q
ok "no reading of what is written below"

attach_ro q merged/a.qcow2
holds merged/a.qcow2 "$RO 300"
holds low/a.qcow2 "$RO 300"
refused "Device or resource busy" "in use by device q" attach bad low/a.qcow2
ofdlock low/a.qcow2 w101 2>/dev/null || fail "byte 101 is not ours"
ofdlock low/a.qcow2 w201 2>/dev/null && fail "the lower file is not locked"
attach_ro r low/a.qcow2
detach r
ok "both inodes are locked"

cmp -n 65536 /dev/mapper/q <(tr '\0' '\007' </dev/zero | head -c 65536)
: >>merged/a.qcow2
[ -e up/a.qcow2 ] || fail "this overlay does not copy up"
dmsetup suspend q
refused "Stale file handle" "copied up" dmsetup resume q
is q claim reserved
dmsetup remove --force q
holds low/a.qcow2 ""
attach_ro q merged/a.qcow2
holds up/a.qcow2 "$RO 300"
detach q
ok "copied up: no resume, but a new device"

hold low/a.qcow2 r101
attach_ro q merged/a.qcow2
detach q
let_go
umount merged
rm -r up work
mkdir up work
mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work merged
hold low/a.qcow2 r101
refused "Device or resource busy" "byte 101" attach_ro bad merged/a.qcow2
let_go
ok "a writer below is found"
