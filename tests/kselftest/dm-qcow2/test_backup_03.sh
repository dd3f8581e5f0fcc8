#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A backup that is killed, interrupted, too slow, or has no place for its result leaves a device that runs
# and, after recover, nothing else.
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/backup.sh
. "$(dirname "$0")/backup.sh"

# fails CODE PATTERN OPTION...: a backup that leaves nothing, not even a part of its result.
fails() {
	local code=$1 pattern=$2
	shift 2
	answers "$code" "$pattern" backup q "$@"
	untouched
	[ ! -e b.qcow2 ] || fail "$*: a result"
}

arrange() { COMMAND=(backup q --to b.qcow2 --via "$VIA"); }
# judge WHERE: the device is written to, and all but a result that was complete goes.
judge() {
	dd if=/dev/urandom of=/dev/mapper/q bs=64k count=1 oflag=direct conv=notrunc status=none
	does recover
	untouched
	[ ! -e a.qcow2.q.snapshot ] || fail "$VIA: $1: a store"
	[ -e b.qcow2 ] || return 0
	clean b.qcow2
	rm b.qcow2
}

need_module dm-snapshot
scratch ext4
create a.qcow2 8M
io a.qcow2 'write -P 1 0 6M'
attach q a.qcow2
for VIA in view snapshot; do
	killed_anywhere kinds
done
ok "killed"

# The result has all but its name, and is not what was written.
STEP=$(command -v edit_step.so)
stopped header backup q --to b.qcow2 --via snapshot
for file in "/proc/$TOOL/fd"/*; do
	[[ $(readlink "$file") != "$DIR/"*"(deleted)" ]] || break
done
printf x | dd of="$file" bs=1 seek=$(($(stat -L -c %s "$file") / 2)) conv=notrunc status=none
kill -CONT "$TOOL"
rc=0
wait "$TOOL" || rc=$?
[[ $rc = 1 && $(<said) =~ "what was written at "[0-9]+" is not what is read again" ]] || fail "verified: exit $rc: $(<said)"
untouched
[ ! -e b.qcow2 ] || fail "a result that is not what was written"
ok "verified"

for signal in INT TERM HUP; do
	begun log --to b.qcow2 --bwlimit 512K
	kill -$signal "$BACKUP"
	ended 1
	[[ $(<log) == *"interrupted ($signal)"* ]] || fail "$signal: $(<log)"
	[ ! -e b.qcow2 ] || fail "$signal: a result"
done
begun log --to b.qcow2 --bwlimit 512K
answers 5 "at work" recover q
does recover
kill -KILL "$BACKUP"
wait "$BACKUP" || true
# As after a reboot: nobody knows but the image.
dmsetup remove --retry q.frozen
rm /run/qcow2ctl/q.frozen.*
does recover
untouched
[ ! -e b.qcow2 ] || fail "KILL: a result"
ok "signals"

start=$(date +%s%N)
fails 1 "longer than 1 seconds" --to b.qcow2 --bwlimit 512K --deadline 1
fails 1 "longer than 1 seconds" --to b.qcow2 --bwlimit 512K --deadline 1 --via snapshot
# A reader of the stream who does not come.
mkfifo pipe
exec 9<>pipe
rc=0
"$QCOW2CTL" backup q --to - --deadline 1 >pipe 2>log || rc=$?
[[ $rc = 1 && $(<log) == *"longer than 1 seconds"* ]] || fail "stdout: exit $rc: $(<log)"
untouched
exec 9>&-
# And one who goes.
rc=0
{ "$QCOW2CTL" backup q --to - 2>log || echo $? >rc; } | head -c 4096 >/dev/null
[[ $(<rc) = 1 && $(<log) == *"stdout"* ]] || fail "stdout: $(<rc): $(<log)"
untouched
say "$((($(date +%s%N) - start) / 1000000)) ms"
start=$(date +%s%N)
does backup q --to b.qcow2 --bwlimit 2M
took=$((($(date +%s%N) - start) / 1000000))
[ "$took" -ge 2400 ] || fail "6 MiB at 2 MiB a second took $took ms"
clean b.qcow2
rm b.qcow2
ok "deadline, rate"

fails 4 "lies on it" --to /dev/mapper/q
mkdir small
mount -t tmpfs -o size=2m tmpfs small
MOUNTS+=("$DIR/small")
fails 8 "No space" --to small/b.qcow2
[ -z "$(ls small)" ] || fail "a part of a result: $(ls small)"
fails 3 "No such file" --to nowhere/b.qcow2
ln -s nothing link
fails 4 "exists" --to link
truncate -s 4M dev.raw
loop dev.raw
fails 8 "No space|are needed" --to "$LOOP"
[[ $(od -An -N4 -tx1 dev.raw) == " 00 00 00 00" ]] || fail "a header on $LOOP"
ok "no place"

if command -v bindfs >/dev/null && modprobe fuse 2>/dev/null; then
	mkdir real served
	bindfs -f real served &
	MOUNTS+=("$DIR/served")
	until mountpoint -q served; do
		sleep 0.1
	done
	does backup q --to served/b.qcow2
	[ "$(ls real)" = b.qcow2 ] || fail "beside the result: $(ls real)"
	clean real/b.qcow2
	# Through the file system, which remembers for a second what is there.
	rm served/b.qcow2
	begun log --to served/b.qcow2 --bwlimit 512K
	want "a part" [ -e real/b.qcow2.part ]
	kill -KILL "$BACKUP"
	wait "$BACKUP" || true
	does recover
	untouched
	[ -z "$(ls real)" ] || fail "left: $(ls real)"
	ok "a file system without nameless files"
fi
detach q
clean a.qcow2
ok "the image is clean"
