#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A file that is no image, and every kind of header that is broken: refused, nothing changed. What only an image names
# is not opened.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create -o cluster_size=64k good.qcow2 8M
attempt() {
	local name=$1 errno=$2 sentence=$3 sum
	sum=$(md5sum <"$name")
	refused "$errno" "$sentence" dmsetup create bad --table "0 2048 qcow2 1 qcow2 $DIR/$name"
	dmsetup info bad >/dev/null 2>&1 && fail "a device was left behind"
	want "$name was changed" [ "$sum" = "$(md5sum <"$name")" ]
	ok "$name: $sentence"
}
# broken NAME OFFSET HEX ERRNO SENTENCE
broken() {
	cp good.qcow2 "$1"
	# shellcheck disable=SC2001
	printf '%b' "$(sed 's/../\\x&/g' <<<"$3")" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
	attempt "$1" "$4" "$5"
}
truncate -s 0 empty
truncate -s 1M zeros
mkdir folder
mkfifo fifo
attempt empty "Invalid argument" "not a qcow2 image"
attempt zeros "Invalid argument" "not a qcow2 image"
for name in folder fifo; do
	refused "Invalid argument" "image is neither a regular file nor a block device" dmsetup create bad --table "0 2048 qcow2 1 qcow2 $DIR/$name"
	dmsetup info bad >/dev/null 2>&1 && fail "$name: a device was left behind"
done
ok "a folder and a FIFO"
unclean="Structure needs cleaning"
unsupported="Operation not supported"
broken version 4 00000004 "$unsupported" ersion
broken cluster_bits_8 20 00000008 "$unclean" cluster_bits
broken cluster_bits_22 20 00000016 "$unclean" cluster_bits
broken crypt_aes 32 00000001 "$unsupported" AES
broken l1_unaligned 40 0000000000030200 "$unclean" l1_table_offset
broken l1_too_small 36 00000000 "$unclean" l1_size
broken l1_too_large 36 00500001 "File too large" l1
broken reftable_unaligned 48 0000000000010001 "$unclean" refcount_table_offset
broken reftable_empty 56 00000000 "$unclean" refcount_table_clusters
broken reftable_too_large 56 00000081 "File too large" refcount_table
broken snapshots_too_many 60 00010001 "File too large" napshots
broken incompatible_dirty 72 0000000000000001 "$unclean" dirty
broken incompatible_corrupt 72 0000000000000002 "$unclean" corrupt
broken data_file 72 0000000000000004 "Required key not available" "external data file"
broken unknown_feature 72 0000000000000040 "$unsupported" "incompatible"
broken refcount_order 96 00000007 "$unclean" refcount_order
broken header_length 100 00000050 "$unclean" header_length
broken l1_behind_end 40 0000000100000000 "$unclean" "beyond the end"
create -b good.qcow2 -F qcow2 overlay 8M
attempt overlay "Required key not available" "names a backing file"
attach q overlay no_backing
detach q
ok "no_backing"

# Names in images: a file that only an image names is not opened, one of the table is.
cp good.qcow2 named.qcow2
cp good.qcow2 other.qcow2
create -b named.qcow2 -F qcow2 over.qcow2 8M
create -o data_file=named.data data.qcow2 8M
cp named.data other.data
python3 - <<'PY' || fail "what is opened"
import ctypes, os, struct, subprocess, time
libc, folder = ctypes.CDLL(None), os.getcwd()
fd = libc.inotify_init1(os.O_NONBLOCK)
IN_CLOSE = 0x18     # the kernel's own opens are not told, but that they end
names = {libc.inotify_add_watch(fd, f"{folder}/{name}".encode(), IN_CLOSE): name
         for name in ("named.qcow2", "other.qcow2", "named.data", "other.data")}
def opened():
    found, at = set(), 0
    time.sleep(0.2)     # they end a moment later
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return found
    while at < len(data):
        watch, _, _, length = struct.unpack_from("iIII", data, at)
        found.add(names[watch])
        at += 16 + length
    return found
wrong = []
for good, table, wanted in (
        (False, "1 qcow2 over.qcow2", set()), (True, "1 qcow2 over.qcow2 1 no_backing", set()),
        (True, "2 qcow2 over.qcow2 qcow2 other.qcow2", {"other.qcow2"}),
        (True, "2 qcow2 over.qcow2 qcow2 named.qcow2", {"named.qcow2"}), (False, "1 qcow2 data.qcow2", set()),
        (True, "1 qcow2 data.qcow2 2 data_file other.data", {"other.data"})):
    for how in ([], ["--readonly"]):
        words = [f"{folder}/{word}" if "." in word else word for word in table.split()]
        done = subprocess.run(["dmsetup", "create", *how, "n", "--table", f"0 16384 qcow2 {' '.join(words)}"],
                              stderr=subprocess.DEVNULL, check=False)
        if good and not done.returncode:
            with open("/dev/mapper/n", "rb") as disk:
                disk.read(1 << 20)
            subprocess.run(["dmsetup", "remove", "--retry", "n"], check=True)
        found = opened()
        if good == bool(done.returncode) or found != wanted:
            wrong.append((how, table, done.returncode, found))
print("#", wrong)
raise SystemExit(bool(wrong))
PY
ok "nothing that only an image names is opened"
for name in incompatible_dirty incompatible_corrupt; do
	sum=$(md5sum <$name)
	SECTORS=16384 attach_ro q $name
	is q mode ro
	dd if=/dev/mapper/q of=/dev/null bs=1M status=none
	detach q
	want "$name was written" [ "$sum" = "$(md5sum <$name)" ]
	ok "$name read-only"
done
