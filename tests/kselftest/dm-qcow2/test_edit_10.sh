#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Each step of an edit fails in turn, or meets SIGINT: an error, nothing half done, and the device runs. Whoever reads
# what is printed goes, or is slow, and what is printed is long.
# timeout=250
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

command -v strace >/dev/null || skip "no strace"
STEP=$(command -v edit_step.so) || fail "edit_step.so is not built"
scratch ext4
# An image with 65536 extents: every second entry says zeros. Its snapshot has one in each table.
create m.img 4G
words=()
for ((at = 0; at < 8; at++)); do words+=("write -z $((at << 29)) 64k"); done
io m.img "${words[@]}"
qemu-img snapshot -c before m.img
io m.img "${words[@]//64k/128k}"
python3 - m.img <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as image:
    image.seek(36)
    count, at = struct.unpack(">IQ", image.read(12))
    image.seek(at)
    for table in struct.unpack(f">{count}Q", image.read(8 * count)):
        image.seek(table & (1 << 56) - 1)
        image.write(struct.pack(">QQ", 1, 0) * 4096)
END
attach m m.img
# paused PAUSES WORD...: a qcow2ctl that suspends its device so often, and meanwhile gets no memory and opens no path, not
# even that of a file that it has open.
paused() {
	local pauses=0 inside='' line rc=0
	strace -o calls -e trace=ioctl,brk,mmap,mremap,openat "$QCOW2CTL" "${@:2}" >printed 2>said || rc=$?
	[ $rc = 0 ] || fail "${*:2}: exit $rc: $(<said)"
	while read -r line; do
		case $line in
		*DM_DEV_SUSPEND*DM_SUSPEND_FLAG*) pauses=$((pauses + 1)) inside=yes ;;
		*DM_DEV_SUSPEND*) inside= ;;
		openat*'"/sys/'* | openat*'"/dev/mapper/control"'* | openat*'"/dev/kmsg"'*) ;;
		brk* | mmap* | mremap*) [ -z "$inside" ] || fail "${*:2} gets memory while the device is suspended: $line" ;;
		openat*) [ -z "$inside" ] || fail "${*:2} opens a path while the device is suspended: $line" ;;
		esac
	done <calls
	want "${*:2}: $pauses pauses" [ $pauses = "$1" ]
}

# What is printed takes memory that is there before the device is suspended.
paused 2 map --json m
mv printed whole.json
want "map --json: extents" [ "$(wc -l <whole.json)" = 65536 ]
# So does what is found. What has changed is looked up twice, because that was too little; what is there is one range
# of zeros.
paused 3 changes --json --since before m
want "changes --json: extents" [ "$(grep -c start printed)" = 32760 ]
# The L1 table of a snapshot has 32 MiB, that of the disk an entry; and there is a leak.
python3 - s.qcow2 <<'END'
import struct, sys
CLUSTER, ENTRIES = 4096, 1 << 22
end = 9 + ENTRIES * 8 // CLUSTER
with open(sys.argv[1], "wb") as image:
    image.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 12, 512 * CLUSTER, 0, 1, 7 * CLUSTER,
                            CLUSTER, 1, 1, 8 * CLUSTER, 0, 0, 0, 4, 104))
    image.seek(CLUSTER)
    image.write(struct.pack(">5Q", *range(2 * CLUSTER, 7 * CLUSTER, CLUSTER)) + bytes(CLUSTER - 40) + b"\0\1" * (end + 1))
    image.seek(8 * CLUSTER)
    image.write(struct.pack(">QIHHIIQIIQQ", 9 * CLUSTER, ENTRIES, 1, 6, 0, 0, 0, 0, 16, 0, ENTRIES * 512 * CLUSTER))
    image.write(b"1before")
    image.truncate((end + 1) * CLUSTER)
END
attach s s.qcow2
paused 1 repair s
paused 1 check s
paused 2 changes --json --since before s
detach s
rm s.qcow2
# A reader that goes, and one that reads when the guardian would long have lost his patience.
"$QCOW2CTL" map m 2>gone.said | head -n 1 >/dev/null || true
"$QCOW2CTL" map m >whole 2>said || fail "map: $(<said)"
want "a pipe holds all of it" [ "$(stat -c %s whole)" -gt 65536 ]
{ "$QCOW2CTL" map m 2>slow.said || echo "exit $?" >>slow.said; } | { sleep 40; cat >slow; } &
READER=$!
# The same with much metadata, and a leak to mend: every cluster of 6 GiB has its place, which is a hole.
python3 - a.qcow2 <<'END'
import array, struct, sys
CLUSTER, TABLES, COPIED = 4096, 3072, 1 << 63
blocks = 772
l1 = 4 + blocks
l2 = l1 + TABLES * 8 // CLUSTER
data = l2 + TABLES
end = data + TABLES * 512
def words(first, count):
    table = array.array("Q", range(first * CLUSTER | COPIED, (first + count) * CLUSTER | COPIED, CLUSTER))
    table.byteswap()
    return table.tobytes()
with open(sys.argv[1], "wb") as image:
    image.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 12, TABLES * 512 * CLUSTER, 0, TABLES,
                            l1 * CLUSTER, CLUSTER, 3, 0, 0, 0, 0, 0, 4, 104))
    image.seek(CLUSTER)
    image.write(struct.pack(f">{blocks}Q", *range(4 * CLUSTER, l1 * CLUSTER, CLUSTER)))
    image.seek(4 * CLUSTER)
    image.write(b"\0\1" * (end + 1))	# and a leak
    image.seek(l1 * CLUSTER)
    image.write(words(l2, TABLES) + words(data, TABLES * 512))
    image.truncate((end + 1) * CLUSTER)
END
attach q a.qcow2
paused 1 repair q
paused 1 snapshot create q x
paused 1 snapshot delete q x
paused 1 check q
paused 1 resize q +1T
runs q
ok "no memory and no path while it is suspended"
# Who reads a pipe sees how far it is while the device is suspended.
exec {PIPE}< <(LD_PRELOAD=$STEP EDIT_AT=barrier EDIT_DO=19 exec "$QCOW2CTL" snapshot create --progress=json q y 2>&1)
TOOL=$!
read -r -t 20 -u "$PIPE" line || fail "no progress is seen"
[[ $line == '{"step":'* && $(dmsetup info q) == *SUSPENDED* ]] || fail "progress: $line"
while read -r _ _ state _ <"/proc/$TOOL/stat" && [ "$state" != T ]; do sleep 0.1; done
kill -CONT $TOOL
wait $TOOL || fail "snapshot create: exit $?"
exec {PIPE}<&-
runs q
ok "progress in a pipe"
fsfreeze -f "$DIR"
answers 5 "a.qcow2 lies on a frozen file system" map q
runs q
fsfreeze -u "$DIR"
does map q
ok "a frozen file system below"
detach q
rm a.qcow2
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
want "failing steps" steps fail shrink
# What comes before is the same code for all.
EDIT_FROM=suspend want "failing steps" steps fail apply
ok "failing shrink and apply"
writer /dev/mapper/q
EDIT_FROM=suspend want "failing steps" steps fail create delete repair grow
want "failing steps" steps fail external
ok "failing create, delete, repair, grow and external"
stop_writer
runs q
detach q
clean a.qcow2
rm -f -- *.qcow2
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
want "SIGINT" steps int shrink
writer /dev/mapper/q
want "SIGINT" steps int external ${QCOW2_FULL:+create delete grow repair}
stop_writer
runs q
detach q
clean a.qcow2
ok "SIGINT"
wait $READER || fail "the slow reader: $?"
[[ $(<slow.said) == *paused* && $(<slow.said) != *exit* ]] || fail "a slow reader: $(<slow.said)"
want "what a slow reader gets" cmp whole slow
[[ $(<gone.said) != *killed* ]] || fail "a reader that goes: $(<gone.said)"
runs m
detach m
clean m.img
ok "readers of what is printed"
