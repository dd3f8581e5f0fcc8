#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Allocating writes without a flush: few barriers, few metadata writes, counted below the image.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
truncate -s 120M disk.raw
loop disk.raw
create_on_device() { qemu-img create -q -f qcow2 "$LOOP" 100M; }
create_on_device
attach q "$LOOP" commit_ms 5000
# below: sets WRITES and FLUSHES of the loop device.
below() {
	local -a stat
	read -ra stat <"/sys/block/${LOOP#/dev/}/stat"
	WRITES=${stat[4]} FLUSHES=${stat[15]}
}
below
writes=$WRITES flushes=$FLUSHES told=$(field q barriers)
start=${EPOCHREALTIME/./}
python3 - <<'PY'
import mmap, os, random
fd = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
buf = mmap.mmap(-1, 4096)
clusters = list(range(1600))
random.seed(1)
random.shuffle(clusters)
for n in clusters[:1000]:
    os.pwrite(fd, buf, n * 65536)
PY
below
barriers=$(field q barriers)
ms=$(((${EPOCHREALTIME/./} - start) / 1000))
is q allocs 1000
meta=$((WRITES - writes - 1000))
flushed=$((FLUSHES - flushes))
say "$barriers barriers in $ms ms, $flushed flushes and $meta other writes below"
[ "$barriers" -le $((ms / 5000 + 1)) ] || fail "$barriers barriers in $ms ms"
[ "$flushed" -le $((ms / 5000 + 1)) ] || fail "$flushed flushes below in $ms ms"
[ "$meta" -lt 20 ] || fail "$meta metadata writes"
sync /dev/mapper/q
is q staged 0
below
barriers=$(($(field q barriers) - told))
say "$barriers barriers, $((FLUSHES - flushes)) flushes below after a sync"
want "no barrier reached the image" [ "$FLUSHES" -gt "$flushes" ]
want "barriers of the status, and flushes below" [ "$barriers" = $((FLUSHES - flushes)) ]
detach q
clean "$LOOP"
ok "1000 allocations"
