#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every malformed image of hostile.manifest: refused with its sentence, or attached with errors only where
# the damage is; and where metadata lies about what is free, guest data never hits metadata.
# timeout=240

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
hostile.py "$DIR"
say "made after $SECONDS s"
out=$(hostile_attach "$DIR") || fail "$out"
say "$out after $SECONDS s"
count=$(grep -c '^image ' plan)
want "there are only $count images" [ "$count" -ge 200 ]
for image in w_over_*; do
	[[ $image = *.other ]] || clean "$image"
done
ok "$count images"

# A header at all its limits at once: 2 PiB of disk, and 65536 snapshots, each with an L1 table of 32 MiB apart from the others.
python3 - <<'PY'
import struct
with open("largest.qcow2", "wb") as file:
    file.truncate(33 * 65536 + 128 << 20)
    file.write(struct.pack(">IIQIIQIIQQIIQQQQIIB7x", 0x514649FB, 3, 0, 0, 16, 2 << 50, 0, 1 << 22, 16 << 20, 1 << 20, 128, 65536,
                           64 << 20, 0, 0, 0, 4, 112, 0))
    file.seek(1 << 20)
    file.write(struct.pack(">Q", 1 << 19))
    file.seek(64 << 20)
    for number in range(65536):
        file.write(struct.pack(">QIHHIIQII984x", 128 + 33 * number << 20, 1 << 22, 0, 0, 0, 0, 0, 0, 984))
PY
used() { # KiB of the kernel's own memory
	awk '/^(Slab|VmallocUsed):/ { sum += $2 } END { print sum }' /proc/meminfo
}
before=$(used)
attach q largest.qcow2
attached=$(($(used) - before))
dd if=/dev/zero of=/dev/mapper/q bs=4k count=1 oflag=direct status=none || fail "write"
written=$(($(used) - before))
say "largest header: $((attached >> 10)) MiB, $((written >> 10)) MiB when written, after $SECONDS s"
want "$attached KiB for the largest header" [ "$attached" -lt 49152 ]
want "$written KiB for the largest header and a write" [ "$written" -lt 65536 ]
is q mode rw
detach q
ok "the largest header"
