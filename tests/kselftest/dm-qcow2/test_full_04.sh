#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A commit has no space for its metadata and cannot go on, discards need none and do: what they stage in memory stays
# within the bound of the cache, the others wait for the commit, and none of them keeps anybody else waiting.
# cpus=2
# timeout=150

# shellcheck source=tests/kselftest/dm-qcow2/full.sh
. "$(dirname "$0")/full.sh"

scratch ext4
small_store
# 2 GiB that are mapped, under 64 slices of L2 tables that have their space; behind them one table of which
# four slices have none: those of 2304, 2336, 2368 and 2400 MiB.
truncate -s 3G small/disk.raw
dd if=/dev/zero of=small/disk.raw bs=1M seek=2048 count=24 conv=notrunc status=none
loop small/disk.raw
dmsetup create low --table "0 $(blockdev --getsz "$LOOP") linear $LOOP 0"
DEVICES+=(low)
image=/dev/mapper/low
qemu-img create -q -f qcow2 -o preallocation=metadata "$LOOP" 2G
qemu-img resize -q -f qcow2 "$LOOP" 2560M
qemu-io -f qcow2 -c 'write -P 1 2G 64k' "$LOOP" >/dev/null
no_space "$LOOP" 4

allocated() { qemu-img check --output=json $image | sed -n 's/.*"allocated-clusters": \([0-9]*\).*/\1/p'; }

# stall SLICE: a commit that stalls, because one of the four slices has no space; sets FLUSH to who waits for it.
stall() {
	empty_store
	dd if=/dev/zero of=/dev/mapper/q bs=64k count=1 seek=$((36864 + 512 * $1)) oflag=direct status=none
	fill_store
	flushed &
	FLUSH=$!
	soon q space full
}

discards() { python3 "$HERE/stalled.py" /dev/mapper/q discard "$1"; }
writes() { python3 "$HERE/stalled.py" /dev/mapper/q write "$1"; }

# both: until of the discards one waits, and all writes.
both() {
	round=$((round + 1))
	discards $round >said &
	discarder=$!
	soon q parked 1
	writes $((8 * round + 1)) >said.w &
	writer=$!
	soon q parked 9
}

# bounded: no more is staged than the 16 slices of this cache, and what the last one adds.
bounded() {
	look q staged
	say "$FOUND slices are staged, $(field q parked) requests wait"
	[ "$FOUND" -le 18 ] || fail "$FOUND slices are staged: $(dmsetup status q)"
}

# ended PID WHAT: within 20 s.
ended() {
	local at
	for ((at = 0; at < 200; at++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.1
	done
	fail "$2: $(dmsetup status q)"
}

words=(cache_kib 64 commit_ms 60000)
round=0		# each discards and writes other clusters than those before
before=$(allocated)
attach q $image "${words[@]}" full_timeout 0
stall 0
discards $round >said &
discarder=$!
at=0
until look q parked && [ "$FOUND" != 0 ] || ! kill -0 $discarder 2>/dev/null || ((++at > 100)); do sleep 0.1; done
bounded
is q parked 1
dmsetup message q 0 retry
soon q parked 1
bounded
writes $((8 * round + 1)) >said.w &
writer=$!
soon q parked 9
bounded
ok "what is staged is bounded while a commit waits for space"
empty_store
# Nobody sends a retry: the commit looks by itself.
want "a flush with space again" wait $FLUSH
ended $discarder "a discard waits though the commit went on"
ended $writer "writes wait though the commit went on"
want "no error: $(cat said said.w)" [ -z "$(cat said said.w)" ]
is q parked 0
is q space ok
detach q
clean $image
after=$(allocated)
want "64 clusters were given up, 9 taken: of $before there are $after" [ $((before - after)) = $((64 - 9)) ]
ok "they go on with the commit"

# A waiting discard ends with an error where nobody may wait for space.
for suspend in --nolockfs "--nolockfs --noflush"; do
	attach q $image "${words[@]}" full_timeout 0
	stall 1
	both
	# shellcheck disable=SC2086
	timeout 30 dmsetup suspend $suspend q || fail "suspend $suspend hangs"
	is q parked 0
	dmsetup resume q
	is q mode lost
	ended $discarder "a discard still waits after suspend $suspend"
	ended $writer "a write still waits after suspend $suspend"
	want "errors: $(<said)" [ "$(cat said said.w | wc -l)" = 9 ]
	wait $FLUSH && fail "a flush without space was answered with success"
	detach q
done
ok "suspend, with and without flush"
for option in "full_timeout 2" "when_full error"; do
	# shellcheck disable=SC2086
	attach q $image "${words[@]}" $option
	stall 1
	round=$((round + 1))
	discards $round >said &
	ended $! "$option does not end a discard"
	want "errors: $(<said)" [ "$(<said)" = ENOSPC ]
	bounded
	wait $FLUSH && fail "a flush without space was answered with success"
	is q mode rw
	detach q
	ok "$option"
done
attach q $image "${words[@]}" full_timeout 0
stall 1
both
dmsetup suspend --noflush --nolockfs low
dmsetup load low --table "0 $(blockdev --getsz "$LOOP") error"
dmsetup resume low
soon q mode fail
ended $discarder "a discard waits in mode fail"
ended $writer "a write waits in mode fail"
want "errors: $(<said)" [ "$(cat said said.w | sort -u)" = EIO ]
is q parked 0
wait $FLUSH && fail "a flush was answered with success"
detach q
ok "a commit that fails in the end"
dmsetup remove low
blockdev --flushbufs "$LOOP"
qemu-img check "$LOOP" >check.log 2>&1 || [ $? = 3 ] || fail "$(<check.log)"
losetup -d "$LOOP"
umount small
