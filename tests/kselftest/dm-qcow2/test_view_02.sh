#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What a view is: which snapshot a word means, its size, its locks, what it refuses, what attaching reads.
# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
# series=6.1
. "$(dirname "$0")/locks.sh"

# names IMAGE ID TAG...: give the snapshots other ids and tags, each as long as the old one.
names() {
	python3 - "$@" <<'PY'
import struct, sys
with open(sys.argv[1], "r+b") as file:
    table, words = file.read(72), sys.argv[2:]
    at = struct.unpack(">Q", table[64:72])[0]
    while words:
        file.seek(at)
        head = file.read(40)
        id_len, name_len, extra = *struct.unpack(">HH", head[12:16]), struct.unpack(">I", head[36:40])[0]
        both = "".join(words[:2]).encode("latin-1")
        assert len(words[0]) == id_len and len(words[1]) == name_len, (id_len, name_len)
        file.seek(at + 40 + extra)
        file.write(both)
        at, words = (at + 40 + extra + id_len + name_len + 7) // 8 * 8, words[2:]
PY
}

# sees NAME COMMAND...: QEMU's reads on a device that cannot be written.
sees() {
	local name=$1 out
	local -a words=()
	shift
	while [ $# -gt 0 ]; do
		words+=(-c "$1")
		shift
	done
	out=$(qemu-io -r -f raw "${words[@]}" "/dev/mapper/$name" 2>&1) || fail "$name: $out"
	[[ $out != *"verification failed"* ]] || fail "$name: $out"
}

# reads DEVICE: sectors read from it since it exists.
reads() {
	local -a stat
	read -ra stat <"/sys/block/${1#/dev/}/stat"
	echo "${stat[2]}"
}

scratch ext4
create a.qcow2 8M
io a.qcow2 'write -P 1 0 8M'
qemu-img snapshot -c s1 a.qcow2
qemu-img resize -q a.qcow2 12M
io a.qcow2 'write -P 2 0 12M'
qemu-img snapshot -c 1x a.qcow2
attach q a.qcow2
refused "Read-only file system" "needs a read-only table" attach v a.qcow2 snapshot s1
refused "No such file" "has no such snapshot" attach_ro v a.qcow2 snapshot s
refused "No such file" "has no such snapshot" attach_ro v a.qcow2 snapshot s11
refused "Invalid argument" "longer than the image's virtual size" attach_ro v a.qcow2 snapshot s1
refused "Invalid argument" "option without a value|fewer words" attach_ro v a.qcow2 snapshot
refused "Invalid argument" "given twice" attach_ro v a.qcow2 snapshot 1 snapshot 2
SECTORS=16384 attach_ro v a.qcow2 snapshot s1
is v virtual $((8 << 20))
sees v 'read -P 1 0 8M'
want "writable" [ "$(blockdev --getro /dev/mapper/v)" = 1 ]
want "discards" [ "$(lsblk -bdno DISC-MAX /dev/mapper/v)" -eq 0 ]
holds a.qcow2 "$RW 300 301"
SECTORS=24576 attach_ro w a.qcow2 snapshot 2
sees w 'read -P 2 0 12M'
detach v
holds a.qcow2 "$RW 300 301"
detach q
holds a.qcow2 "$RO 300 301"
hold a.qcow2 r300 # a reader of it does not matter
dmsetup suspend w
dmsetup resume w
let_go
detach w
holds a.qcow2 ""
ok "refusals, own size, locks"

hold a.qcow2 w301
refused "Device or resource busy" "locked by another process .byte 301" attach_ro v a.qcow2 snapshot 2
let_go
hold a.qcow2 r101
refused "Device or resource busy" "locked by another process" attach_ro v a.qcow2 snapshot 2
let_go
attach_ro v a.qcow2 snapshot 2
want "a reader beside the view" qemu-io -r -f qcow2 -c "read 0 512" a.qcow2 >/dev/null
if qemu-img snapshot -d s1 a.qcow2 2>/dev/null; then fail "qemu-img writes beside the view"; fi
detach v
ok "locks of others"

# An id goes before a tag, and blanks and backslashes are quoted.
names a.qcow2 2 s1 1 2x
attach_ro v a.qcow2 snapshot 1
sees v 'read -P 2 0 12M'
detach v
SECTORS=16384 attach_ro v a.qcow2 snapshot s1
is v view 2
[[ $(dmsetup table v) == *" 2 snapshot 2" ]] || fail "table: $(dmsetup table v)"
dmsetup table v | dmsetup reload --readonly v
dmsetup suspend v
dmsetup resume v
sees v 'read -P 1 0 8M'
detach v
names a.qcow2 ' ' 'a ' \\ 'b '
for at in ' =1' '\=2' 'a =1' 'b =2'; do
	SECTORS=16384 attach_ro v a.qcow2 snapshot "$(quoted "${at%=*}")"
	sees v "read -P ${at#*=} 0 8M"
	line=$(dmsetup table v)
	detach v
	dmsetup create --readonly v --table "$line"
	want "another table: $line" [ "$(dmsetup table v)" = "$line" ]
	detach v
done
SECTORS=16384 attach_ro v a.qcow2 snapshot 'a\ '
seen=$("$QCOW2CTL" status --json v | python3 -c 'import json, sys; print(json.load(sys.stdin)["view"] + "=")')
want "the tool takes the id for '$seen'" [ "$seen" = " =" ]
detach v
names a.qcow2 $'\n' 's1' 2 's2'
SECTORS=16384 refused "Structure needs cleaning" "not printable" attach_ro v a.qcow2 snapshot s1
ok "names"

# Attaching reads the header, the snapshot table and the snapshot's L1 table: not what the active layer has.
create -o cluster_size=512 b.qcow2 64M
io b.qcow2 'write -P 1 0 1M'
qemu-img snapshot -c s1 b.qcow2
io b.qcow2 'write -P 2 0 40M'
truncate -s 64M b.qcow2
loop b.qcow2
at=$(reads "$LOOP")
SECTORS=131072 attach_ro v "$LOOP" snapshot s1
at=$(($(reads "$LOOP") - at))
say "attaching reads $at sectors"
# The L1 table has 16 KiB; the snapshot table is read in pieces of 64 KiB, at the load and at the resume,
# and the header some times.
want "nothing was read" [ "$at" -gt 32 ]
want "$at sectors" [ "$at" -le $(((16 + 5 * 4 + 2 * 64) * 2)) ]
sees v 'read -P 1 0 1M' 'read -P 0 1M 63M'
detach v
ok "what attaching reads"
