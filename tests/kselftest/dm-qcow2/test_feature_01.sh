#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What this version does not read: refused by name, or an error at the cluster; bitmaps are not lost; bits, header
# bytes and extensions that nobody knows survive, but for the bits that say that they must not.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
# unread NAME SENTENCE: refused read-write and read-only, and not changed.
unread() {
	local sum
	sum=$(md5sum <"$1")
	for how in "" --readonly; do
		# shellcheck disable=SC2086
		refused "Operation not supported" "$2" \
			dmsetup create $how bad --table "0 2048 qcow2 1 qcow2 $DIR/$1"
	done
	[ "$sum" = "$(md5sum <"$1")" ] || fail "$1 was changed"
	ok "$1: $2"
}
create aes 8M
printf '\1' | dd of=aes bs=1 seek=35 conv=notrunc status=none
unread aes AES
luks=(--object "secret,id=s,data=x" -o "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10")
# In a machine that others keep waiting it may not find out how fast that is.
until said=$(create "${luks[@]}" luks 8M 2>&1); do
	[[ $said == *"accurate CPU usage"* && $SECONDS -lt 60 ]] || fail "$said"
done
unread luks LUKS
create future 8M
# Bit 40 of the incompatible features, and its name in the feature table of the header.
python3 - future <<'PY'
import struct, sys
with open(sys.argv[1], "r+b") as file:
    file.seek(72)
    file.write(struct.pack(">Q", 1 << 40))
    file.seek(112)
    file.write(struct.pack(">II2B46s", 0x6803f857, 48, 0, 40, b"time travel") + bytes(8))
PY
unread future "time travel"

create marked 8M
qemu-img bitmap --add marked daily
refused "Operation not permitted" "bitmaps" dmsetup create bad --table "0 16384 qcow2 1 qcow2 $DIR/marked"
sum=$(md5sum <marked)
attach_ro q marked
detach q
[ "$sum" = "$(md5sum <marked)" ] || fail "marked was changed"
attach q marked bitmaps drop
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=1 oflag=direct status=none
detach q
qemu-img info marked 2>/dev/null | grep -q daily && fail "a bitmap that was not maintained is still valid"
qemu-img check marked >check.log 2>&1 || grep -q "leaked" check.log || fail "$(cat check.log)"
ok "bitmaps are kept, or dropped when asked"

# Bytes of the header, an extension, compatible and autoclear bits of a version to come.
truncate -s 16M unknown
loop unknown
create "$LOOP" 8M
python3 - unknown <<'PY'
import struct, sys
with open(sys.argv[1], "r+b") as file:
    file.seek(80)
    file.write(struct.pack(">QQ", 1 << 40, 1 << 40 | 4))
    file.seek(100)
    file.write(struct.pack(">I", 120))
    file.seek(112)
    file.write(b"to come!" + struct.pack(">II", 0x12345678, 11) + b"not for now" + bytes(5 + 8))
PY
blockdev --flushbufs "$LOOP"
head -c 65536 unknown >before
# like NAME: the header is as it was, NAME but for the autoclear bits.
like() {
	head -c 65536 unknown >now
	[ "$1" = all ] || printf '\0\0\0\0\0\0\0\0' | dd of=before bs=8 seek=11 conv=notrunc status=none
	want "the header, but for autoclear bits: $2" cmp before now
}
# counted: sets WRITTEN, in sectors, and FLUSHES of the loop device.
counted() {
	local -a stat
	read -ra stat <"/sys/block/${LOOP#/dev/}/stat"
	WRITTEN=${stat[6]} FLUSHES=${stat[15]}
}
SECTORS=16384 attach_ro q "$LOOP"
detach q
like all "read-only"
counted
written=$WRITTEN flushes=$FLUSHES
dmsetup create q --notable
DEVICES+=(q)
SECTORS=16384 table "$LOOP" | dmsetup load q
counted
want "a load writes" [ "$WRITTEN" = "$written" ]
like all "loaded"
dmsetup resume q
counted
want "$((WRITTEN - written)) sectors are written" [ $(((WRITTEN - written + 7) / 8)) = 1 ]
want "they are durable before anybody can write" [ "$FLUSHES" -gt "$flushes" ]
like cleared "resumed"
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=9 oflag=direct status=none
detach q
like cleared "written"
clean "$LOOP"
ok "what is unknown survives, autoclear bits go before the first write"

create messages 8M
attach q messages
for words in "" nonsense RETRY "retry now" "handover" "handover x" "check now" "check_stop now"; do
	# shellcheck disable=SC2086
	out=$(dmsetup message q 0 $words 2>&1) && fail "message '$words' was taken"
	[ -z "$words" ] || grep -q "Invalid argument" <<<"$out" || fail "message '$words': $out"
done
detach q
ok "messages that are none"
