#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Writes that overlap in clusters that are allocated at that moment, from both sides; reads and discards among them.
# cpus=2

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
for cluster in $(halved 4k 64k 1M); do
	create base.qcow2 16M
	qemu-io -f qcow2 -c 'write -P 1 0 16M' base.qcow2 >/dev/null
	create -o "cluster_size=$cluster" -b base.qcow2 -F qcow2 over.qcow2
	attach q over.qcow2 -b qcow2:base.qcow2
	python3 - "$(numfmt --from=iec "${cluster^^}")" <<'PY' || fail "$cluster: a sector holds what nobody wrote"
import fcntl, mmap, os, random, struct, sys, threading
cluster, size = int(sys.argv[1]), 16 << 20
fd = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
span = max(cluster, 4096)
rounds = min(40, size // (2 * span))
start = threading.Barrier(4)
wrong = []

def buffer(byte, length):
    memory = mmap.mmap(-1, length)
    memory[:] = bytes([byte]) * length
    return memory

def area(turn):
    """Two clusters of the round, which no other round uses."""
    return turn * 2 * span

def writer(byte, shift):
    for turn in range(rounds):
        start.wait()
        at = area(turn)
        pieces = list(range(0, span, max(512, span // 8)))
        for piece in pieces if byte == 2 else reversed(pieces):
            os.pwrite(fd, buffer(byte, max(512, span // 8) * 2), at + shift + piece)

def reader():
    for turn in range(rounds):
        start.wait()
        data = buffer(0, 2 * span)
        os.preadv(fd, [data], area(turn))
        if set(data[:]) - {0, 1, 2, 3}:
            wrong.append(("read", turn))

def discarder():
    for turn in range(rounds):
        start.wait()
        if turn % 2:
            fcntl.ioctl(fd, 0x1277, struct.pack("QQ", area(turn), cluster))

threads = [threading.Thread(target=writer, args=(2, 0)), threading.Thread(target=writer, args=(3, 512)),
           threading.Thread(target=reader), threading.Thread(target=discarder)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
data = buffer(0, size)
os.preadv(fd, [data], 0)
for sector in range(size // 512):
    found = set(data[sector * 512:sector * 512 + 512])
    if len(found) != 1 or found - {0, 1, 2, 3}:
        wrong.append((sector, found))
# Even rounds have no discards: both writers' own ends are there, and what nobody wrote is the base's.
for turn in range(0, rounds, 2):
    at = area(turn)
    last = at + 512 + span + max(512, span // 8) - 512
    if data[at] != 2 or data[last] != 3 or data[last + 512] != 1:
        wrong.append((turn, data[at], data[last], data[last + 512]))
print("#", len(wrong), "wrong", wrong[:3])
sys.exit(bool(wrong))
PY
	detach q
	clean over.qcow2
	ok "cluster_size $cluster"
	rm over.qcow2
done
