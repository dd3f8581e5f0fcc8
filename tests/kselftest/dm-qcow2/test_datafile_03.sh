#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# qcow2ctl and an image with an external data file: attach, what it refuses, check, map and a layer over it.
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

# answers CODE PATTERN COMMAND...: exit code, and a line of what it says.
answers() {
	local code=$1 pattern=$2 rc=0 out
	shift 2
	out=$("$QCOW2CTL" "$@" 2>&1) || rc=$?
	[ "$rc" = "$code" ] || fail "qcow2ctl $*: exit $rc, not $code: $out"
	grep -qE -- "$pattern" <<<"$out" || fail "qcow2ctl $*: no '$pattern' in: $out"
}

[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
scratch ext4
answers 0 "" create --data-file a.data a 16M
answers 0 "" create --data-file b.data --raw b 16M
cp a.data other.data
answers 4 "--data-file $DIR/a.data" attach a q
answers 0 "^/dev/mapper/q$" attach --chain=follow --allow-under "$DIR" a q
made q
want "the table names another file" grep -q " data_file $DIR/a.data" <(dmsetup table q)
answers 5 "data|image is in use by device q" attach --data-file a.data b other
answers 0 "" detach q
answers 0 "^/dev/mapper/q$" attach --data-file other.data a q
device_io q 'write -P 5 1M 1M' flush
want "the data is not in the file that was given" cmp -n 1048576 -i 1048576 other.data <(head -c 2M /dev/zero | tr '\0' '\5')
answers 0 '"mode": ?"rw"' status --json q
answers 0 "data file: +$DIR/a.data" info q
answers 9 "external data file" snapshot create q one
answers 9 "external data file" snapshot create --external over q
answers 0 "" check --online q
answers 0 "" check q
is q mode rw
device_io q 'read -P 5 1M 1M' 'read -P 0 2M 1M'
answers 0 "" detach q
holds other.data ""
ok "attach, status, info, check; no snapshots"

# Resized while it is attached: content, both files, and what is gained is zero where bytes were left behind the end.
for raw in "" --raw; do
	rm -f d d.data
	# shellcheck disable=SC2086 # no word, or one
	answers 0 "" create --data-file d.data $raw d 16773632
	answers 0 "" attach --data-file d.data d q
	made q
	device_io q 'write -P 7 0 1M' 'write -P 8 16773120 512' flush
	printf 'left behind' >>d.data
	(exec 9</dev/mapper/q && answers 5 "in use" resize --shrink q 8M)
	answers 0 "paused q" resize q +8M
	[ "$(blockdev --getsize64 /dev/mapper/q) $(stat -c %s d.data)" = "25162240 25162240" ] || fail "$raw: $(ls -l d.data)"
	device_io q 'read -P 8 16773120 512' 'read -P 0 16773632 8388608' 'write -P 9 20M 64k' flush
	answers 0 "paused q" resize --shrink q 17M
	[ "$(blockdev --getsize64 /dev/mapper/q) $(stat -c %s d.data)" = "17825792 17825792" ] || fail "$raw: $(ls -l d.data)"
	answers 0 "paused q" resize q 32M
	holds d.data "$RW 300"
	device_io q 'read -P 7 0 1M' 'read -P 8 16773120 512' 'read -P 0 16773632 16780800' 'write -P 6 31M 1M' flush
	is q mode rw
	answers 0 "" detach q
	clean d
	io d 'read -P 7 0 1M' 'read -P 0 16773632 15728640' 'read -P 6 31M 1M'
	[ -z "$raw" ] || FORMAT=raw io d.data 'read -P 7 0 1M' 'read -P 8 16773120 512' 'read -P 0 16773632 15728640' 'read -P 6 31M 1M'
done
# A device is as long as it is.
truncate -s 20M disk
loop disk
answers 0 "" create --data-file "$LOOP" e 16M
answers 0 "" attach --data-file "$LOOP" e q
answers 8 "smaller than the disk would be" resize q 32M
is q mode rw
answers 0 "paused q" resize q 20M
device_io q 'write -P 5 19M 1M' flush
answers 0 "paused q" resize --shrink q 10M
answers 0 "paused q" resize q 20M
device_io q 'read -P 0 10M 10M'
answers 0 "" detach q
clean e
ok "resize, with the data file, raw or not, on a file or a device"

answers 0 "^/dev/mapper/q$" attach --data-file b.data b q
mkfs.ext4 -q -F /dev/mapper/q
mkdir -p mount
mount /dev/mapper/q mount
cp -r /usr/share/perl5/Debconf mount 2>/dev/null || cp /bin/bash mount
if modprobe dm-delay 2>/dev/null; then
	answers 0 "" interpose q delay --ms 1
	sync -f mount
	answers 0 "" interpose q --remove
fi
fstrim mount
umount mount
answers 0 "" detach q
clean b
want "the raw data file is no file system" fsck.ext4 -fn b.data
same b b.data
answers 0 "" check ./b
ok "a file system in a raw data file, with a layer for a while"
