#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# An L2 table loses its last reference while readers still wait for slices of it: it stays as it is until they have them.
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/trace.sh
. "$(dirname "$0")/trace.sh"

scratch ext4
need_module dm-delay
truncate -s 64M slow.raw
loop slow.raw
create "$LOOP" 512M
# A table has 16 slices, each maps 32 MiB.
for slice in {0..15}; do
	echo "write -P $((slice + 1)) $((slice * 32))M 64k"
done | qemu-io -f qcow2 "$LOOP" >/dev/null
# No entry of the L1 table has COPIED: whoever writes gets a table of his own, and the old one is of no use any more.
python3 - "$LOOP" <<'PY'
import os, struct, sys
file = os.open(sys.argv[1], os.O_RDWR)
at, = struct.unpack(">Q", os.pread(file, 8, 40))
entry, = struct.unpack(">Q", os.pread(file, 8, at))
os.pwrite(file, struct.pack(">Q", entry & (1 << 63) - 1), at)
PY
dmsetup create slow --table "0 131072 delay $LOOP 0 0 $LOOP 0 0"
DEVICES+=(slow)
attach q /dev/mapper/slow commit_ms 20
# From here on each read takes 0.4 s.
dmsetup suspend slow
echo "0 131072 delay $LOOP 0 400 $LOOP 0 0" | dmsetup load slow
dmsetup resume slow
trace dm_qcow2/qcow2_table
echo mono >"$TRACING/trace_clock"
trace_forget
# The table is copied slice by slice. Each 0.2 s somebody needs another slice, so at the end of the copy some wait for one of the
# old table.
python3 - "$TRACING/trace" <<'PY' || fail "see above"
import mmap, os, re, sys, threading, time
DELAY = 0.4
file = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
begin, wrong = time.monotonic(), []
spans = {}
def read(slice):
    buffer = mmap.mmap(-1, 4096)
    time.sleep((11.5 + slice / 2) * DELAY)
    start = time.monotonic()
    os.preadv(file, [buffer], slice << 25)
    spans[slice] = start, time.monotonic()
    if buffer[:] != bytes([slice + 1]) * 4096:
        wrong.append(f"slice {slice}: {buffer[:4]} and not {slice + 1}")
readers = [threading.Thread(target=read, args=(slice,)) for slice in range(1, 16)]
for reader in readers:
    reader.start()
data = mmap.mmap(-1, 65536)
data[:] = b"w" * 65536
os.pwritev(file, [data], 0)
for reader in readers:
    reader.join()
with open(sys.argv[1], encoding="ascii") as trace:
    changed, = (float(at) for at in re.findall(r" (\d+\.\d+): qcow2_table: ", trace.read()))
waited = [slice for slice, (start, end) in spans.items() if changed - DELAY * 0.8 < start < changed and end > changed + 0.1 * DELAY]
print(f"# the table was replaced after {changed - begin:.2f} s, when slices {waited} of the old one were on their way")
print(*(f"# {text}" for text in wrong), sep="\n")
sys.exit(bool(wrong) or not waited)
PY
ok "nobody reads a table that is gone"

dmsetup suspend slow
echo "0 131072 linear $LOOP 0" | dmsetup load slow
dmsetup resume slow
want "what was written" cmp <(head -c 65536 /dev/zero | tr '\0' w) <(dd if=/dev/mapper/q bs=64k count=1 iflag=direct status=none)
detach q
dmsetup remove --retry slow
# The entries of the copy have no COPIED, as behind a snapshot; nothing leaks.
rc=0
qemu-img check "$LOOP" >check.log 2>&1 || rc=$?
grep -q "Leaked\|refcount=0" check.log && fail "qemu-img check: exit $rc: $(<check.log)"
"$QCOW2CTL" repair "$LOOP" >/dev/null
clean "$LOOP"
ok "counts are right"
