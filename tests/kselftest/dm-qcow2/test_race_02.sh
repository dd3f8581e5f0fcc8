#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What is given up while somebody is on his way to it stays as it is until he has been there: an L2 table of which readers wait for
# slices, and data, though it has the only cluster that is free then. Below each read takes 0.4 s. Other machines may take so
# much of the processor that the moment is missed: then once more.
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/trace.sh
. "$(dirname "$0")/trace.sh"

scratch ext4
need_module dm-delay
MISSED=3
# slow FILE: the device slow over it.
slow() {
	loop "$1"
	SECTORS_BELOW=$(blockdev --getsz "$LOOP")
	dmsetup create slow --table "0 $SECTORS_BELOW delay $LOOP 0 0 $LOOP 0 0"
	DEVICES+=(slow)
}
# slowly MILLISECONDS: from here on each read below takes so long.
slowly() {
	dmsetup suspend slow
	echo "0 $SECTORS_BELOW delay $LOOP 0 $1 $LOOP 0 0" | dmsetup load slow
	dmsetup resume slow
}
filled() { head -c 65536 /dev/zero | tr '\0' "$1"; }
put() { filled "$1" | dd of=/dev/mapper/q bs=64k seek="$2" iflag=fullblock oflag=direct status=none; }
# often COMMAND...: until it does not miss the moment; but not for ever.
often() {
	local try rc=$MISSED
	for ((try = 0; try < 5 && rc == MISSED; try++)); do
		rc=0
		"$@" || rc=$?
	done
	[ $rc = 0 ] || fail "$1: exit $rc"
}

truncate -s 64M slow.raw
slow slow.raw
create "$LOOP" 512M
# A table has 16 slices, each maps 32 MiB.
for slice in {0..15}; do
	echo "write -P $((slice + 1)) $((slice * 32))M 64k"
done | qemu-io -f qcow2 "$LOOP" >/dev/null
trace dm_qcow2/qcow2_table
echo mono >"$TRACING/trace_clock"
table_goes() {
	local rc=0
	# Its L1 entry has no COPIED: whoever writes gets a table of his own, and the old one is of no use any more.
	python3 - <<'PY'
import os, struct
file = os.open("/dev/mapper/slow", os.O_RDWR)
at, = struct.unpack(">Q", os.pread(file, 8, 40))
entry, = struct.unpack(">Q", os.pread(file, 8, at))
os.pwrite(file, struct.pack(">Q", entry & (1 << 63) - 1), at)
os.fsync(file)
PY
	attach q /dev/mapper/slow commit_ms 20
	slowly 400
	trace_forget
	# The table is copied slice by slice. Each 0.3 s somebody needs another slice, so at the end of the copy some wait for one
	# of the old table.
	python3 - "$TRACING/trace" $MISSED <<'PY' || rc=$?
import mmap, os, re, sys, threading, time
DELAY = 0.4
file = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
begin, wrong, spans = time.monotonic(), [], {}
def read(slice):
    buffer = mmap.mmap(-1, 4096)
    time.sleep(4.3 + 0.3 * slice)
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
sys.exit(1 if wrong else 0 if waited else int(sys.argv[2]))
PY
	slowly 0
	want "what was written" cmp <(filled w) <(dd if=/dev/mapper/q bs=64k count=1 iflag=direct status=none)
	detach q
	return $rc
}
often table_goes
dmsetup remove --retry slow
# The entries of the copy have no COPIED, as behind a snapshot; nothing leaks.
rc=0
qemu-img check "$LOOP" >check.log 2>&1 || rc=$?
grep -q "Leaked\|refcount=0" check.log && fail "qemu-img check: exit $rc: $(<check.log)"
"$QCOW2CTL" repair "$LOOP" >/dev/null
clean "$LOOP"
ok "nobody reads a table that is gone"

truncate -s 2M small.raw
slow small.raw
create "$LOOP" 4M
attach q /dev/mapper/slow commit_ms 20 when_full error
# Until there is no cluster any more.
clusters=0
while put o $clusters 2>/dev/null; do
	clusters=$((clusters + 1))
done
want "$clusters clusters" [ $clusters -gt 10 ]
want "clusters are left" [ $clusters -lt 32 ]
detach q
attach q /dev/mapper/slow commit_ms 20
give_up() { blkdiscard -o $(($1 * 65536)) -l 65536 /dev/mapper/q; }
# By then all tables are in memory.
give_up 1
put o 1
data_goes() {
	local rc=0
	slowly 400
	python3 - $MISSED <<'PY' || rc=$?
import fcntl, mmap, os, struct, sys, threading, time
file = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
there, new = mmap.mmap(-1, 65536), mmap.mmap(-1, 65536)
new[:] = b"n" * 65536
reader = threading.Thread(target=os.preadv, args=(file, [there], 5 << 16))
begin = time.monotonic()
reader.start()
time.sleep(0.05)
fcntl.ioctl(file, 0x1277, struct.pack("=QQ", 5 << 16, 65536))   # BLKDISCARD
given = time.monotonic() - begin
os.pwritev(file, [new], 60 << 16)
written = time.monotonic() - begin
reader.join()
print(f"# given up after {given:.2f} s, written after {written:.2f} s, read {there[:2]} after {time.monotonic() - begin:.2f} s")
# He may have come too late to see what was there.
sys.exit(1 if there[:] not in (b"o" * 65536, bytes(65536)) else 0 if given < 0.25 and there[0] else int(sys.argv[1]))
PY
	slowly 0
	want "what was written" cmp <(filled n) <(dd if=/dev/mapper/q bs=64k skip=60 count=1 iflag=direct status=none)
	give_up 60
	put o 5
	return $rc
}
often data_goes
detach q
dmsetup remove --retry slow
clean "$LOOP"
ok "nobody reads what is another one's"
