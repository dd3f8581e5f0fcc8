#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The check of a device that is written: nothing is found in a good image whatever is written, what is
# wrong is found meanwhile, and it stops when it shall.
# cpus=2
# timeout=200
# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

# damage IMAGE WHAT: a leak; or the first data cluster of the last table that is ours, without COPIED,
# or twice.
damage() {
	python3 - "$@" <<'EOP'
import struct, sys
with open(sys.argv[1], "r+b") as file:
    def words(at, count=1):
        file.seek(at)
        return struct.unpack(f">{count}Q", file.read(8 * count))
    def put(at, form, value):
        file.seek(at)
        file.write(struct.pack(form, value))
    bits, = struct.unpack(">I", file.read(24)[20:24])
    cluster, mask = 1 << bits, (1 << 56) - 512
    file.seek(36)
    size, l1, table, clusters = struct.unpack(">IQQI", file.read(24))
    if sys.argv[2] == "leak":
        # What lies behind the end is no leak yet.
        file.truncate(file.seek(0, 2) + (1 << 20))
        for block in filter(None, words(table, clusters * cluster // 8)):
            file.seek(block)
            counts = struct.unpack(f">{cluster // 2}H", file.read(cluster))
            if 0 in counts:
                put(block + 2 * counts.index(0), ">H", 1)
                break
        else:
            sys.exit("there is no free cluster")
    else:
        own = [entry & mask for entry in words(l1, size) if entry >> 63]
        entries = words(own[-1], cluster // 8)
        at = next(i for i, entry in enumerate(entries) if entry >> 63 and entry & mask)
        if sys.argv[2] == "copied":
            put(own[-1] + 8 * at, ">Q", entries[at] & ~(1 << 63))
        else:
            free = entries.index(0)
            put(own[-1] + 8 * free, ">Q", entries[at])
EOP
}

# under_load NAME ERRORS LEAKS: as many checks as are made while somebody writes; sets CHECKS.
under_load() {
	local writer
	CHECKS=0
	exercise "$1" model.raw 5 "$4" &
	writer=$!
	while [ -e /proc/$writer ] || [ $CHECKS = 0 ]; do
		checked "$1" "$2" "$3"
		CHECKS=$((CHECKS + 1))
	done
	wait $writer || fail "the disk is not what was written"
	say "$CHECKS checks, $(dmsetup status "$1")"
}

scratch ext4
for size in $(some 512 64k); do
	create -o "cluster_size=$size" a.qcow2 24M
	io a.qcow2 'write -P 1 0 3M'
	qemu-img snapshot -c s1 a.qcow2
	io a.qcow2 'write -P 2 1M 1M' 'write -z 2M 256k'
	qemu-img snapshot -c s2 a.qcow2
	qemu-img convert -O raw a.qcow2 model.raw
	attach q a.qcow2 commit_ms 50
	is q check none
	event=$(dmsetup info -c --noheadings -o events q)
	checked q 0 0
	[ "$(dmsetup info -c --noheadings -o events q)" -gt "$event" ] || fail "no event"
	under_load q 0 0 400
	does check --online q
	[[ $OUT =~ errors:?\ +0 ]] || fail "check --online: $OUT"
	runs q
	detach q
	clean a.qcow2
	same a.qcow2 model.raw
	ok "a good image, $size"

	damage a.qcow2 leak
	attach q a.qcow2
	checked q 0 1
	under_load q 0 1 200
	answers 3 "leaks:? +1" check --online q
	is q mode rw
	detach q
	same a.qcow2 model.raw
	io a.qcow2 'write -P 3 23M 128k'
	cp a.qcow2 b.qcow2
	damage a.qcow2 copied
	attach q a.qcow2
	checked q 1 1
	answers 2 '"errors": ?1' check --online --json q
	detach q
	damage b.qcow2 twice
	attach q b.qcow2
	checked q 1 1
	dmsetup suspend q
	is q check done:1:1
	dmsetup resume q
	is q check done:1:1
	detach q
	ok "a leak and errors, $size"
	rm a.qcow2 b.qcow2 model.raw
done

# The storage is so slow that a check takes seconds. (For less than 50 ms dm-delay has a thread that does not sleep.)
need_module dm-delay
create -o cluster_size=512 a.qcow2 4M
io a.qcow2 'write 0 3M'
truncate -s 20M a.qcow2
loop a.qcow2
dmsetup create slow --table "0 40960 delay $LOOP 0 50 $LOOP 0 0"
DEVICES+=(slow)
SECTORS=8192 attach q /dev/mapper/slow
dmsetup message q 0 check
look q check
[[ $FOUND == running:* ]] || fail "check=$FOUND"
if dmsetup message q 0 check 2>/dev/null; then fail "two checks at once"; fi
device_io q 'write -P 5 0 4k' 'read -P 5 0 4k'
look q check
[[ $FOUND == running:* ]] || fail "check=$FOUND"
dmsetup message q 0 check_stop
is q check none
dmsetup message q 0 check_stop
dmsetup message q 0 check
dmsetup suspend q
is q check none
if dmsetup message q 0 check 2>/dev/null; then fail "a check of a suspended device"; fi
answers 1 "suspended" check --online q
dmsetup resume q
if dmsetup message q 0 check now 2>/dev/null; then fail "a word too much"; fi
dmsetup message q 0 check
"$QCOW2CTL" check --online q >out 2>&1 &
sleep 0.5
dmsetup message q 0 check_stop
rc=0
wait $! || rc=$?
[ $rc = 1 ] || fail "exit $rc: $(<out)"
[[ $(<out) == *"was stopped"* ]] || fail "no reason: $(<out)"
dmsetup message q 0 check
detach q
SECTORS=8192 attach_ro q /dev/mapper/slow
if dmsetup message q 0 check 2>/dev/null; then fail "a check of a read-only device"; fi
answers 0 "errors:? +0" check --online q
detach q
answers 0 "errors:? +0" check --online /dev/mapper/slow
ok "start and stop"

# What is given up while a check is on its way there is counted until the next commit, and is no leak.
SECTORS=8192 attach q /dev/mapper/slow commit_ms 60000
dmsetup message q 0 check
blkdiscard -o $((11 << 18)) -l 32768 /dev/mapper/q
look q check
[[ $FOUND == running:* ]] || fail "check=$FOUND"
until [[ $FOUND != running:* ]]; do
	sleep 0.2
	look q check
done
want "check=$FOUND: $(dmesg | grep check: | tail -5)" [ "$FOUND" = done:0:0 ]
detach q
dmsetup remove --retry slow
ok "what is given up meanwhile"
