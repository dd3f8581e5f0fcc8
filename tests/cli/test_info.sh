#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# info says what qemu-img says, for all kinds of images that qemu-img makes.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
alone

# same NAME FILE: our JSON against qemu-img's.
same() {
	local name=$1 file=$2
	call info --json "./$file"
	if [ $RC != 0 ] || [ -n "$ERR" ]; then
		notok "$name" "info failed"
		return
	fi
	printf '%s\n' "$OUT" >ours.json
	qemu-img info -U -f qcow2 --output=json "$file" >theirs.json
	holds "$name" json info ours.json theirs.json
}

make_image() { qemu-img create -q -f qcow2 "$@"; }

for bits in 9 12 21; do
	make_image -o cluster_size=$((1 << bits)) "c$bits.qcow2" 3M
	same "clusters of 2^$bits" "c$bits.qcow2"
done
for bits in 1 64; do
	make_image -o refcount_bits=$bits "r$bits.qcow2" 1G
	same "counts of $bits bits" "r$bits.qcow2"
done
make_image -o compat=0.10 v2.qcow2 10M
same "version 2" v2.qcow2
make_image -o lazy_refcounts=on lazy.qcow2 10M
same "lazy refcounts" lazy.qcow2
make_image -o extended_l2=on,cluster_size=128k sub.qcow2 10M
same "extended L2" sub.qcow2
make_image -o compression_type=zstd zstd.qcow2 10M
same "zstd" zstd.qcow2
make_image -o data_file=d.raw data.qcow2 10M
same "data file" data.qcow2
make_image -o data_file=d2.raw,data_file_raw=on data_raw.qcow2 10M
same "raw data file" data_raw.qcow2
make_image -b v2.qcow2 -F qcow2 over.qcow2
same "backing file" over.qcow2
truncate -s 1000000 odd.raw
make_image -b odd.raw -F raw over_raw.qcow2
same "raw backing file of odd length" over_raw.qcow2
make_image -u -b "nbd://host/x" -F raw over_nbd.qcow2 1M
same "backing file of a protocol" over_nbd.qcow2
# qemu-img times itself to choose the cost of a key; on a coarse clock it now and then measures nothing.
for _ in {1..50}; do
	make_image --object secret,id=s,data=x -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 \
		luks.qcow2 1M 2>luks.errors && break
	grep -q "accurate CPU usage" luks.errors || break
done
same "LUKS" luks.qcow2

make_image snap.qcow2 8M
for tag in first second "with blank" 'quote"s' "ümlaut"; do
	qemu-io -c "write -P 3 0 64k" snap.qcow2 >/dev/null
	qemu-img snapshot -c "$tag" snap.qcow2
done
same "snapshots" snap.qcow2
succeeds "snapshots in text" "2 +second +20[0-9-]+ [0-9:]+ +8M +0B" info ./snap.qcow2
qemu-img bitmap --add over.qcow2 daily
qemu-img bitmap --add over.qcow2 weekly
same "bitmaps" over.qcow2

for name in dirty corrupt; do
	evil make $name
	same "$name" $name
done

# A snapshot table of more than one reading.
python3 - "$HERE" <<'PYTHON'
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import evil
entry = evil.snapshot().rstrip(b"\0")
entry += bytes(-len(entry) % 8)
table = b"".join(entry for _ in range(5000))
table += bytes(-len(table) % evil.CLUSTER)
with open("many.qcow2", "wb") as file:
    file.write(evil.image(tail=table, nb_snapshots=5000, snapshots=4 * evil.CLUSTER))
PYTHON
same "5000 snapshots" many.qcow2

# Names that are no text.
make_image -u -b $'bad\xff\x1b[31mname' -F raw escape.qcow2 1M
call info ./escape.qcow2
holds "a name cannot drive the terminal" lacks "$OUT" $'\e'
holds "what is no UTF-8 is shown as bytes" grep -qF 'bad\xff\x1b[31mname' <<<"$OUT"
call info --json ./escape.qcow2
holds "JSON is UTF-8" python3 -c 'import json, sys; json.loads(sys.argv[1].encode("utf-8", "strict"))' "$OUT"

# Text form.
succeeds "sizes with units and in bytes" "^virtual size: +10M \(10485760\)$" info ./v2.qcow2
succeeds "absent is a dash" "^backing file: +-$" info ./v2.qcow2
succeeds "an image that is not attached" "^attached as: +-$" info ./v2.qcow2
