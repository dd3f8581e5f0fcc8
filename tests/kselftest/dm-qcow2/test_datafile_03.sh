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
answers 9 "external data file" resize q 32M
answers 0 "" check --online q
answers 0 "" check q
is q mode rw
device_io q 'read -P 5 1M 1M' 'read -P 0 2M 1M'
answers 0 "" detach q
holds other.data ""
ok "attach, status, info, check; no snapshots"

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
