#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A hundred snapshots in a row under a database and fio, which verifies: views of all of them read back right, and each that is
# looked at mounts, passes fsck and SQLite's integrity check, and has every row that was durable before it.
# timeout=300
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
mounted 64M -
verifier /mnt/guest/verified 200000
# Behind the file system: blocks that are overwritten by turns, each before a snapshot.
does resize q +1M
mkdir -p /mnt/then
python3 "$HERE/edit_database.py" fill /mnt/guest/rows.db "$DIR/enough" "$DIR/committed" &
database=$!
until [ -s committed ]; do sleep 0.1; done
declare -A rows
for nr in {1..100}; do
	read -r "rows[$nr]" <committed
	freeze=
	printf '%04d' "$nr" | dd of=/dev/mapper/q bs=4k seek=$((16384 + nr % 7)) oflag=direct conv=sync,notrunc,fsync status=none
	# Without the freeze it is what a loss of power would leave: the journals mend it.
	[ "$nr" != 67 ] || freeze=--nolockfs
	does snapshot create ${freeze:+"$freeze"} q "s$nr"
done
[[ $OUT =~ paused ]] || fail "no pause: $OUT"
[ $((10#${rows[100]})) -gt $((10#${rows[1]})) ] || fail "the database stood still"
# shown FIRST[-LAST]...: what the views of these show is what was there.
shown() { want "a view does not show its snapshot" python3 "$HERE/edit_views.py" "$DIR/a.qcow2" 7 16384 "$@"; }
gone=(5 6 99)
shown "${gone[@]}"
for nr in "${gone[@]}"; do
	pauses snapshot delete q "s$nr"
done
stop_writer
wait $database || fail "the database has failed"
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
shown 1-4 7-98 100
ok "views of all of them"
pauses check q
detach q
clean a.qcow2
ok "a hundred creates, three deletes"

for nr in 4 67 100; do
	qemu-img convert -l "s$nr" -O raw a.qcow2 s.raw
	[ $nr = 67 ] || want "s$nr is not clean" e2fsck -fn s.raw >/dev/null 2>&1
	loop s.raw
	mount "$LOOP" /mnt/then
	MOUNTS+=(/mnt/then)
	want "the database of s$nr" python3 "$HERE/edit_database.py" check /mnt/then/rows.db "${rows[$nr]}"
	umount /mnt/then
	losetup -d "$LOOP"
	want "s$nr is not clean after use" e2fsck -fn s.raw >/dev/null 2>&1
done
ok "file systems and databases of three of them"
