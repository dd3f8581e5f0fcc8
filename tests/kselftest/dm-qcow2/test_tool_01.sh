#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# qcow2ctl on real devices: what it prints, what it refuses, and whom it names.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/kselftest/dm-qcow2/without.sh
. "$HERE/without.sh"

# answers CODE PATTERN COMMAND...: exit code, and a line of what it says.
answers() {
	local code=$1 pattern=$2 rc=0 out
	shift 2
	out=$("$QCOW2CTL" "$@" 2>&1) || rc=$?
	[ "$rc" = "$code" ] || fail "qcow2ctl $*: exit $rc, not $code: $out"
	grep -qE "$pattern" <<<"$out" || fail "qcow2ctl $*: no '$pattern' in: $out"
}

[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
without
scratch ext4
answers 0 "" create a.qcow2 16M
answers 0 "^/dev/mapper/q$" attach a.qcow2 q
DEVICES+=(q)
want "lsblk does not call it qcow2" [ "$(lsblk -dno TYPE /dev/mapper/q)" = qcow2 ]
want "uuid" grep -qE "^QCOW2-.*-q$" <(dmsetup info -c --noheadings -o uuid q)
answers 5 "q" attach a.qcow2 q
answers 5 "q" attach a.qcow2 other
answers 0 "^q +" list
answers 0 '"mode": ?"rw"' list --json
answers 0 '"claim": ?"active"' status --json q
answers 0 "attached as: +q" info ./a.qcow2
ok "attach, list, status, info"
# Layers have names and uuids with such ends.
create other.qcow2 1M
for name in vm-copy vm-real vm-frozen; do
	answers 0 "^/dev/mapper/$name$" attach other.qcow2 $name
	answers 0 "^$name +" list
	answers 0 "" detach $name
done
for name in vm.copy vm.real vm.frozen; do
	answers 2 "are for layers" attach other.qcow2 $name
done
qemu-img create -q -f qcow2 -o data_file=plain.raw data.qcow2 1M
cp plain.raw $'a\nb'
answers 1 "control characters" attach --data-file $'a\nb' data.qcow2 other
cp other.qcow2 $'c\nd'
answers 1 "control characters" attach $'./c\nd' other
answers 3 "measure|no such file" measure missing
answers 0 "required" measure other.qcow2
ok "names"

mkdir readonly
mount --bind . readonly
MOUNTS+=("$DIR/readonly")
mount -o remount,bind,ro readonly
answers 4 "other.qcow2: .*[Rr]ead-only" attach readonly/other.qcow2 other
want "a device is left" [ ! -e /dev/mapper/other ]
answers 0 "^/dev/mapper/other$" attach -r readonly/other.qcow2 other
is other mode ro
answers 0 "" detach other
umount readonly
ok "an image that cannot be written"

mkfs.ext4 -q -F /dev/mapper/q
mkdir -p mount
mount /dev/mapper/q mount
answers 5 "$DIR/mount" detach q
is q mode rw
ok "detach names a mount"
unshare -m --propagation private sh -c 'touch inside; exec sleep 100' &
holder=$!
until [ -e inside ]; do sleep 0.1; done
umount mount
answers 5 "$holder" detach q
ok "detach names a mount in another mount namespace"
kill $holder
wait $holder || true
answers 0 "" detach --wait 10 q
clean a.qcow2
ok "detach waits for it"

truncate -s 32M disk.raw
loop disk.raw
mkfs.ext4 -q -F "$LOOP"
answers 4 "ext4" create "$LOOP" 16M
want "the filesystem is there still" e2fsck -fn "$LOOP" >/dev/null
wipefs -qa "$LOOP"
answers 0 "" create "$LOOP" 16M
answers 0 "^/dev/mapper/q$" attach "$LOOP" q
answers 5 "q" create "$LOOP" 16M
answers 0 "" detach q
ok "a device with a foreign signature"
