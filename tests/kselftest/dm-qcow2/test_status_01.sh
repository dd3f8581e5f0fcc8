#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every key of the status line changes when it should, and none is without a case here.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

SEEN=
declare -A FIRST
# first: all keys and values of the first device.
first() {
	local mode space pairs pair
	read -r _ _ _ _ mode space pairs <<<"$(dmsetup status q)"
	for pair in "mode=$mode" "space=$space" $pairs; do FIRST[${pair%%=*}]=${pair#*=}; done
}
# becomes KEY VALUE, differs KEY OLD: what a key has to be now; with another value than the first it counts as tested.
becomes() {
	soon q "$1" "$2"
	[ "$2" = "${FIRST[$1]}" ] || SEEN+=" $1 "
}
differs() {
	[ "$(field q "$1")" != "$2" ] || fail "$1 is $2 still: $(dmsetup status q)"
	SEEN+=" $1 "
}
last_is() { grep -q "^$1@" <<<"$(field q last)" || fail "last is $(field q last), not $1"; }
write() { dd if=/dev/urandom of=/dev/mapper/q bs=64k seek="$1" count="$2" oflag=direct status=none; }
read_some() { dd if=/dev/mapper/q of=/dev/null bs=64k skip="$1" count="$2" iflag=direct status=none; }
poke() { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
# lower TABLE...: the device under the image becomes this, at once.
lower() { dmsetup suspend --nolockfs --noflush low && dmsetup load low --table "$*" && dmsetup resume low; }

scratch ext4
need_module dm-flakey
truncate -s 32M disk.raw
loop disk.raw
all="0 65536"
dmsetup create low --table "$all linear $LOOP 0"
DEVICES+=(low)
qemu-img create -q -f qcow2 /dev/mapper/low 24M
attach q /dev/mapper/low low_water $(((24 << 20) / 512)) commit_ms 60000
first
is q clean -
becomes mode rw
becomes space ok
becomes claim active
becomes layers 1
becomes cluster 65536
becomes virtual $((24 << 20))
becomes end $((32 << 20))
becomes last none
becomes parked 0
is q check none
is q view -
soon q alloc $((4 << 16))
is q highest $((4 << 16))
ok "a new device"

write 0 2
becomes writes 2
becomes allocs 2
differs staged 0
differs cache "$(field q cache | sed 's,.*/,0/,')"
dd if=/dev/urandom of=/dev/mapper/q bs=4k seek=64 count=1 oflag=direct status=none
becomes cows 1
before=$(field q commits)/$(field q barriers)
sync /dev/mapper/q
becomes staged 0
differs commits "${before%/*}"
differs barriers "${before#*/}"
differs alloc $((4 << 16))
differs highest $((4 << 16))
hits=$(field q hits)
read_some 0 2
becomes reads 2
differs hits "$hits"
blkdiscard -o 0 -l 65536 /dev/mapper/q
becomes discards 1
dmsetup suspend q
becomes claim parked
becomes clean yes
dmsetup resume q
misses=$(field q misses)
read_some 1 1
differs misses "$misses"
write 8 200
becomes space low
ok "counters and states of a device that works"

# One read that fails harms nothing else.
good="$all linear $LOOP 0"
# dm-flakey, always down: unlike dm-error it has an error for a flush too.
bad="$all flakey $LOOP 0 0 3600"
sync /dev/mapper/q
lower "$bad"
read_some 1 1 2>/dev/null && fail "a read of nothing succeeded"
becomes ioerrs 1
becomes last "read@65536"
is q mode rw
lower "$good"
read_some 1 1
ok "last=read"
lower "$bad"
write 1 1 2>/dev/null && fail "a write to nothing succeeded"
is q last "write@65536"
is q mode rw
sync /dev/mapper/q 2>/dev/null && fail "a flush of nothing succeeded"
becomes mode fail
is q last "barrier@0"
dmsetup suspend --nolockfs q
becomes clean no
is q claim lost
lower "$good"
dmsetup resume q
becomes mode lost
dmsetup remove --retry q
ok "last=write, barrier; fail and lost"

truncate -s 9M disk2.raw
loop disk2.raw
qemu-img create -q -f qcow2 "$LOOP" 24M
attach q "$LOOP" full_timeout 0
write 0 300 2>/dev/null &
writer=$!
becomes parked 1
becomes space full
last_is nospace
truncate -s 12M disk2.raw
losetup -c "$LOOP"
dmsetup message q 0 retry
becomes end $((12 << 20))
soon q parked 1
dmsetup remove --force q 2>/dev/null || true
wait $writer || true
dmsetup info q >/dev/null 2>&1 && dmsetup remove --retry q
ok "last=nospace"

# The first entry of the first table leads to no cluster; test_status_02 has the others.
create a.qcow2 24M && qemu-io -c "write 0 1M" a.qcow2 >/dev/null
poke a.qcow2 $((4 * 65536)) '\x80\x00\x00\x00\x00\x05\x02\x00'
attach q a.qcow2
is q corruptions 0
read_some 0 1 2>/dev/null && fail "a read succeeded"
becomes corruptions 1
last_is l2
becomes mode ro
detach q
create a.qcow2 24M
ok "last=l2"

# What stays as long as a device lives differs between two.
create -o cluster_size=4k -b a.qcow2 -F qcow2 over.qcow2 32M
attach q over.qcow2 -b qcow2:a.qcow2
becomes layers 2
becomes cluster 4096
becomes virtual $((32 << 20))
dmsetup message q 0 check
becomes check done:0:0
detach q
qemu-img snapshot -c s over.qcow2
attach_ro q over.qcow2 -b qcow2:a.qcow2 snapshot 1
becomes view 1
detach q
ok "another device"

for key in "${!FIRST[@]}"; do
	[[ $SEEN == *" $key "* ]] || fail "no case for $key"
done
ok "every key"
