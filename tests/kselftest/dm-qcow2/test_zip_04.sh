#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The cache of inflated clusters: each is inflated once, whoever reads it how; a suspend forgets it, a write does not hurt it.

# shellcheck source=tests/kselftest/dm-qcow2/zip.sh
. "$(dirname "$0")/zip.sh"

scratch ext4
pack() { qemu-img convert -c -f raw -O qcow2 -o "$2" "$1" "$3"; }
head -c 1M </dev/zero | tr '\0' x >even.raw
pack even.raw cluster_size=64k even.qcow2
attach q even.qcow2
trace dm_qcow2/qcow2_inflate
dd if=/dev/mapper/q of=/dev/null bs=4k iflag=direct status=none
inflated 16 "small reads in order"
dd if=/dev/mapper/q of=/dev/null bs=4k iflag=direct status=none
inflated 0 "again"
dmsetup suspend q
read -r at length < <(zip_image.py entry even.qcow2 15)
python3 - "$at" "$length" <<'PY'
import sys, zlib
at, length = map(int, sys.argv[1:])
packer = zlib.compressobj(9, zlib.DEFLATED, -12)
data = packer.compress(b"y" * 65536) + packer.flush()
assert len(data) <= length
with open("even.qcow2", "r+b") as file:
    file.seek(at)
    file.write(data)
PY
dmsetup resume q
cmp <(head -c 65536 /dev/zero | tr '\0' y) <(dd if=/dev/mapper/q bs=64k skip=15 iflag=direct status=none) ||
	fail "an edit behind a suspend was not seen"
dmsetup suspend q
dmsetup resume q
inflated 1 "the edited cluster"
python3 - <<'PY'
import mmap, os, threading
fd = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
start = threading.Barrier(8)
def read(index):
    buffer = mmap.mmap(-1, 4096)
    for cluster in range(16):
        start.wait()
        os.preadv(fd, [buffer], cluster * 65536 + index * 4096)
        assert buffer[:] == (b"y" if cluster == 15 else b"x") * 4096
threads = [threading.Thread(target=read, args=(index,)) for index in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
PY
inflated 16 "eight readers of one cluster at a time, after a suspend"
dd if=/dev/zero of=/dev/mapper/q bs=64k count=4 oflag=direct status=none
blkdiscard -o 262144 -l 262144 /dev/mapper/q
inflated 0 "whole clusters written and discarded"
dd if=/dev/zero of=/dev/mapper/q bs=4k count=1 seek=128 oflag=direct status=none
dd if=/dev/mapper/q of=read.raw bs=1M count=1 iflag=direct status=none
inflated 0 "copied from the cache, the rest still there"
head -c 512k </dev/zero >expected.raw
tail -c 512k even.raw >>expected.raw
head -c 65536 /dev/zero | tr '\0' y | dd of=expected.raw bs=64k seek=15 conv=notrunc status=none
dd if=/dev/zero of=expected.raw bs=4k count=1 seek=128 conv=notrunc status=none
want "content differs" cmp expected.raw read.raw
detach q
clean even.qcow2
same even.qcow2 expected.raw
ok "a cluster is inflated once"
