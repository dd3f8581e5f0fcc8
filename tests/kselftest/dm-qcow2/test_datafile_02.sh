#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# An external data file: what is refused, locks, reloads, its flush before the metadata, its errors; on files and devices.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

scratch ext4
create -o data_file=d.data a 8M
create -o data_file=e.data b 8M
create plain 8M
create -b a -F qcow2 over 8M
truncate -s 4M short
cp a snapshots
python3 - snapshots <<'PY'
import struct, sys
with open(sys.argv[1], "r+b") as file:
    file.seek(60)
    file.write(struct.pack(">IQ", 1, 5 << 16))
    file.truncate(6 << 16)
PY

# no ERRNO-NAME SENTENCE [--readonly] TABLE...: refused, and nothing stays locked.
no() {
	local errno=$1 sentence=$2 how=
	shift 2
	[ "$1" != --readonly ] || { how=$1; shift; }
	table_line "$@"
	refused "$errno" "$sentence" dmsetup create ${how:+"$how"} bad --table "$LINE"
	holds d.data ""
	holds "$1" ""
}
for how in "" --readonly; do
	# shellcheck disable=SC2086
	{
		no "Required key" "external data file and the table gives none" $how a
		no "Invalid" "no external data file but" $how plain data_file "$DIR/d.data"
		no "Invalid" "data file is the image itself" $how a data_file "$DIR/a"
		no "No such file" "" $how a data_file "$DIR/missing"
		no "Structure needs cleaning" "data file is shorter than the disk" $how a data_file "$DIR/short"
		no "not supported" "top layer only" $how over -b qcow2:a
		no "Invalid" "option without a value" $how a data_file
	}
done
no "Structure needs cleaning" "has internal snapshots" snapshots data_file "$DIR/d.data"
no "not supported" "views of an image with external data file" --readonly snapshots snapshot 1 data_file "$DIR/d.data"
ok "refused by name"

attach q a data_file "$DIR/d.data"
holds a "$RW 300"
holds d.data "$RW 300"
no_qemu() {
	local out
	out=$("$@" 2>&1) && fail "not refused: $*"
	[[ $out =~ 'Failed to get '.*' lock' ]] || fail "$*: $out"
}
no_qemu qemu-io -f raw -c 'write 0 4k' d.data
no_qemu qemu-io -c 'write 0 4k' --image-opts driver=qcow2,file.filename=b,data-file.driver=file,data-file.filename=d.data
table_line b data_file "$DIR/d.data"
refused "busy" "in use by device q" dmsetup create bad --table "$LINE"
dmsetup suspend q
holds d.data "$RW"
dmsetup resume q
detach q
holds d.data ""
attach_ro q a data_file "$DIR/d.data"
holds d.data "$RO 300"
detach q
hold d.data r101
table_line a data_file "$DIR/d.data"
refused "busy" "locked by another process" dmsetup create bad --table "$LINE"
let_go
qemu-io -c 'write -P 1 0 64k' -c 'sleep 3000' a >/dev/null &
for ((at = 0; at < 50; at++)); do
	bytes d.data
	[ -z "$BYTES" ] || break
	sleep 0.1
done
refused "busy" "locked by another process" dmsetup create bad --table "$LINE"
wait
ok "locks on the data file"

attach q a data_file "$DIR/d.data" no_backing
line=$(dmsetup table q)
[[ $line == *" 3 data_file $DIR/d.data no_backing" ]] || fail "$line"
device_io q 'read -P 1 0 64k' 'write -P 2 64k 64k'
dmsetup load q --table "$line"
device_io q 'write -P 3 128k 64k'
dmsetup resume q
want "the table changed" [ "$line" = "$(dmsetup table q)" ]
holds d.data "$RW 300"
device_io q 'read -P 1 0 64k' 'read -P 2 64k 64k' 'read -P 3 128k 64k'
mv d.data moved.data
want "the table has the old name" grep -q " data_file $DIR/moved.data " <(dmsetup table q)
mv moved.data d.data
dmsetup suspend q
truncate -s 1M d.data
dmsetup resume q 2>/dev/null && fail "a data file that is too short now was taken"
truncate -s 8M d.data
dmsetup resume q
is q claim active
detach q
clean a
ok "reloads"
