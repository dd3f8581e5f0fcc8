#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Internal snapshots of a sparse image with 100 GiB allocated in clusters of 64 KiB: create takes less than
# 250 ms, each L2 table is read once and written once, and how long qemu-img takes, side by side. A quarter of it
# takes a quarter of the bytes: how much is read and written goes by the metadata and by nothing else.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"

LIMIT=250	# ms
TIMEFORMAT='%U %S %R'

# timed FILE COMMAND...: the command's user, system and clock time become a line of FILE.
timed() {
	local file=$1
	shift
	{ time "$@" >/dev/null 2>&1; } 2>>"$file" || notok "$1 $2 $3" "failed"
}
# least FILE: sets CPU and CLOCK to the smallest times there, in ms.
least() {
	read -r CPU CLOCK < <(awk '{ c = $1 + $2; if (NR == 1 || c < m) m = c; if (NR == 1 || $3 < r) r = $3 }
		END { printf "%d %d\n", m * 1000, r * 1000 }' "$1")
}
# compare VERB: no more processor time than qemu-img. What other work on the machine does to the clock is not ours.
compare() {
	local cpu clock
	least "theirs.$1"
	cpu=$CPU clock=$CLOCK
	least "ours.$1"
	echo "# snapshot $1: processor $CPU ms, qemu-img $cpu ms, ratio $((CPU * 100 / cpu)) %;" \
		"clock $CLOCK ms, qemu-img $clock ms, ratio $((CLOCK * 100 / clock)) %"
	holds "$1: no more processor time than qemu-img" [ "$CPU" -le "$cpu" ]
}

# Whether nothing else runs on this machine right now.
calm() {
	local running
	read -r _ _ _ running _ </proc/loadavg
	[ "${running%/*}" = 1 ]
}

python3 "$TREE/tests/check/big.py" ours.qcow2 100
cp --sparse=always ours.qcow2 theirs.qcow2
rounds=0
for ((round = 0; round < 6; round++)); do
	! calm || rounds=$((rounds + 1))
	timed ours.create "$Q" snapshot create ./ours.qcow2 now
	timed theirs.create qemu-img snapshot -c now theirs.qcow2
	timed ours.delete "$Q" snapshot delete ./ours.qcow2 now
	timed theirs.delete qemu-img snapshot -d now theirs.qcow2
done
compare delete
compare create
if [ $rounds -ge 3 ]; then
	holds "create takes less than $LIMIT ms" [ "$CLOCK" -lt $LIMIT ]
else
	holds "create takes less than $LIMIT ms of processor time (other work runs here)" [ "$CPU" -lt $LIMIT ]
fi
# bytes IMAGE: sets WRITTEN, READ and TABLES to what one more snapshot takes.
bytes() {
	call snapshot create --debug "./$1" now
	[[ $ERR =~ ([0-9]+)\ bytes\ written,\ ([0-9]+)\ bytes\ read,\ ([0-9]+)\ of\ them\ L2\ tables,\ [0-9]+\ barriers ]] ||
		notok "bytes" "not told"
	echo "# $1: ${BASH_REMATCH[0]}"
	WRITTEN=${BASH_REMATCH[1]:-0} READ=${BASH_REMATCH[2]:-0} TABLES=${BASH_REMATCH[3]:-0}
}
bytes ours.qcow2
# 200 tables, 51 refcount blocks and what leads to them.
holds "each table is read once" [ "$TABLES" = $((200 << 16)) ]
holds "and written once at most" [ "$WRITTEN" -le $((270 << 16)) ]
holds "the image is clean" qemu-img check -q ours.qcow2
python3 "$TREE/tests/check/big.py" quarter.qcow2 25
written=$WRITTEN read=$READ
bytes quarter.qcow2
# What does not grow with the disk: the header, the refcount table, the first of each kind.
holds "a quarter of the disk: a quarter of the bytes written" [ "$WRITTEN" -le $((written / 4 + (6 << 16))) ]
holds "a quarter of the disk: a quarter of the bytes read" [ "$READ" -le $((read / 4 + (6 << 16))) ]
holds "a quarter of the disk: something at all" [ "$TABLES" = $((50 << 16)) ]
echo "# bytes of snapshot create, 25 GiB to 100 GiB: written $WRITTEN to $written, read $READ to $read," \
	"ratio $(((WRITTEN + READ) * 100 / (written + read))) %"
holds "the quarter is clean" qemu-img check -q quarter.qcow2
# The calls: no byte behind the header is read or written twice, tables are read as a whole and written by many.
if command -v strace >/dev/null; then
	strace -f -e trace=read,pread64,preadv,preadv2,write,pwrite64,pwritev,pwritev2 -e read=none -e write=none -s 0 -y -o calls \
		"$Q" snapshot create ./ours.qcow2 later || notok "strace" "failed"
	holds "one pass in large pieces" python3 - calls <<'PY'
import re, sys
found = {"read": [], "write": []}
for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
    if match := re.search(r" (p?)(read|write)(\S*?)\(\d+<[^>]*/ours\.qcow2>.*?(\d+)\) += (\d+)$", line):
        assert match[1] and match[3] in ("64", ""), line      # each has its offset
        found[match[2]].append((int(match[4]), int(match[5])))
for what, calls in found.items():
    body = sorted((at, length) for at, length in calls if at >= 65536)
    wrong = [pair for pair in zip(body, body[1:]) if pair[0][0] + pair[0][1] > pair[1][0]]
    print(f"# {what}: {len(calls)} calls, {sum(length for _, length in calls)} bytes, {len(calls) - len(body)} of the header")
    assert body and not wrong, wrong[:3]
# 200 tables that lie far from each other, 51 blocks that do not, what leads to them, and the header.
assert len(found["read"]) <= 220 and sum(length for _, length in found["read"]) <= 262 << 16, "reads"
assert len(found["write"]) <= 25, "writes"
PY
else
	ok "one pass in large pieces # SKIP no strace"
fi
