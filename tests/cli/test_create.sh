#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What create makes is what qemu-img makes, for every combination, and qemu-img check finds it clean.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
alone

# both NAME "OUR OPTIONS" "THEIR OPTIONS" [SIZE]: two images of one kind, said to be the same; ours is clean.
both() {
	local name=$1 size=${4:-3M}
	rm -f ours theirs
	# shellcheck disable=SC2086 # lists of words
	call create $2 ours $size
	if [ $RC != 0 ] || [ -n "$OUT$ERR" ]; then
		notok "$name" "create $2 ours $size"
		return
	fi
	# shellcheck disable=SC2086
	qemu-img create -q -f qcow2 $3 theirs $size
	qemu-img info -f qcow2 --output=json ours >ours.json
	qemu-img info -f qcow2 --output=json theirs >theirs.json
	holds "$name: said to be the same" json same ours.json theirs.json
	holds "$name: clean" qemu-img check -q -f qcow2 ours
}

# No error, no leak, after a write of QEMU either.
clean() {
	if ! qemu-io -f qcow2 -c "write -P 5 0 70000" -c "read -P 5 0 70000" "$2" >.io 2>&1 ||
		grep -qi "fail" .io; then
		notok "$1: QEMU writes it" "$(cat .io)"
	fi
	holds "$1: clean after QEMU wrote it" qemu-img check -q -f qcow2 "$2"
}

both "default" "" ""
clean "default" ours
for bits in {9..21}; do
	both "clusters of 2^$bits" "--cluster-size $((1 << bits))" "-o cluster_size=$((1 << bits))"
done
for bits in 1 2 4 8 32 64; do
	both "counts of $bits bits" "--refcount-bits $bits --cluster-size 4K" \
		"-o refcount_bits=$bits,cluster_size=4k"
	clean "counts of $bits bits" ours
done
both "version 2" "--compat v2" "-o compat=0.10"
both "version 2, small clusters" "--compat v2 --cluster-size 512" "-o compat=0.10,cluster_size=512"
both "lazy refcounts" "--lazy-refcounts" "-o lazy_refcounts=on"
both "zstd" "--compression zstd" "-o compression_type=zstd"
both "deflate" "--compression deflate" "-o compression_type=zlib"
both "extended L2" "--extended-l2 --cluster-size 16K" "-o extended_l2=on,cluster_size=16k"
both "everything" "--extended-l2 --lazy-refcounts --compression zstd --refcount-bits 8 --cluster-size 2M" \
	"-o extended_l2=on,lazy_refcounts=on,compression_type=zstd,refcount_bits=8,cluster_size=2M" 1T
both "size 0" "" "" 0
both "one sector" "" "" 512
both "1 PiB" "--cluster-size 2M" "-o cluster_size=2M" 1024T

# Tables that need more than one block: 512-byte clusters, 64-bit counts, the largest disk that they can have.
succeeds "L1 of 32 MiB" "^$" create --cluster-size 512 --refcount-bits 64 large 128G
clean "L1 of 32 MiB" large
rm large
fails 1 "larger than its clusters allow" "needs clusters larger than 512" create --cluster-size 512 x $((128 * 1024 * 1024 * 1024 + 512))
hints "larger: the option" "--cluster-size"
holds "nothing is left" absent x

# Backing files.
"$Q" create base.qcow2 5M
truncate -s 1000001 odd.raw
both "backing file" "--backing base.qcow2,format=qcow2" "-b base.qcow2 -F qcow2"
both "raw backing file" "--backing odd.raw,format=raw" "-b odd.raw -F raw"
both "absolute backing file" "--backing $PWD/base.qcow2,format=qcow2" "-b $PWD/base.qcow2 -F qcow2" 1M
both "version 2 with a backing file" "--compat v2 --backing base.qcow2,format=qcow2" "-o compat=0.10 -b base.qcow2 -F qcow2"
for base in base.qcow2,format=qcow2 odd.raw,format=raw; do
	rm -f over theirs
	succeeds "size of $base" "^$" create --backing "$base" over
	qemu-img create -q -f qcow2 -b "${base%,*}" -F "${base##*=}" theirs
	holds "size of $base as QEMU" [ "$("$Q" info ./over | grep virtual)" = "$("$Q" info ./theirs | grep virtual)" ]
done
mkdir sub
cp base.qcow2 sub/other.qcow2
succeeds "relative to the overlay" "^$" create --backing other.qcow2,format=qcow2 sub/over
fails 3 "backing file not there" "^qcow2ctl: gone: .*No such file" create --backing gone,format=raw x
fails 1 "name too long for the header" "too long" create --cluster-size 512 --backing "$(printf './%.0s' {1..300})base.qcow2,format=qcow2" x

# Data files.
succeeds "data file" "^$" create --data-file d.raw data 3M
holds "data file has its size" [ "$(stat -c %s d.raw)" = 3145728 ]
holds "data file: absolute" grep -q "$PWD/d.raw" data
clean "data file" data
succeeds "raw data file" "^$" create --data-file r.raw --raw raw 3145216
clean "raw data file" raw
printf 'written from outside' | dd of=r.raw bs=64k seek=2 conv=notrunc status=none
holds "a raw data file counts without metadata" bash -c \
	"qemu-img convert -f qcow2 -O raw raw out && cmp r.raw out"
succeeds "raw data file, extended L2" "^$" create --extended-l2 --cluster-size 16K --data-file s.raw --raw sub_raw 40M
clean "raw data file, extended L2" sub_raw
dd if=/dev/urandom of=s.raw bs=1M count=2 seek=7 conv=notrunc status=none
holds "with extended L2 too" bash -c "qemu-img convert -f qcow2 -O raw sub_raw out && cmp s.raw out"

# What exists is not touched.
printf 'mine' >mine
ln -s nowhere dangling
for path in mine sub dangling base.qcow2 /dev/null; do
	fails 4 "existing: $path" "exists already" create "$path" 1M
done
fails 4 "existing data file" "^qcow2ctl: $PWD/mine: .*exists already" create --data-file mine x 1M
holds "existing files are as they were" [ "$(cat mine)" = mine ]
holds "image of an existing data file: not made" absent x
fails 3 "folder that is not there" "No such file" create gone/x 1M
fails 3 "a folder's name" "not the name of a file" create gone/ 1M

# Combinations that cannot be.
fails 2 "no size" "missing argument, SIZE" create x
fails 2 "--cluster-size 256K and a bit" "power of two" create --cluster-size 768K x 1M
fails 2 "--cluster-size 4M" "power of two" create --cluster-size 4M x 1M
fails 2 "--refcount-bits 3" "power of two" create --refcount-bits 3 x 1M
fails 2 "--refcount-bits 0" "power of two" create --refcount-bits 0 x 1M
fails 2 "--refcount-bits 128" "not a number" create --refcount-bits 128 x 1M
fails 2 "--compat 1.1" "none of v2.v3" create --compat 1.1 x 1M
fails 2 "v2: counts" "refcount-bits 16 only" create --compat v2 --refcount-bits 8 x 1M
for option in --extended-l2 --lazy-refcounts "--compression zstd" --data-file=d2; do
	# shellcheck disable=SC2086
	fails 2 "v2: $option" "compat v2 has no ${option%=*}" create --compat v2 $option x 1M
done
fails 2 "extended L2 in small clusters" "16K or more" create --extended-l2 --cluster-size 8K x 1M
fails 2 "--raw alone" "goes with --data-file" create --raw x 1M
fails 2 "--raw over a backing file" "contradict" create --raw --data-file d3 --backing base.qcow2,format=qcow2 x 1M
for file in x d2 d3; do holds "$file was not made" absent $file; done

# No space, no room: nothing is left, whatever it was that failed.
(ulimit -f 100; trap '' XFSZ; "$Q" create x 1M >/dev/null 2>&1) && notok "file size limit" "succeeded"
holds "file size limit: nothing left" absent x
(ulimit -f 100; "$Q" create x 1M >/dev/null 2>&1)
holds "killed by the limit: nothing left" absent x
mkdir full
if mount -t tmpfs -o size=64k tmpfs full 2>/dev/null; then
	Q=${WITHOUT_RUN:-$Q}	# what is mounted here and now is not seen everywhere
	fails 8 "full file system" "No space left" create --cluster-size 64K full/x 1G
	holds "full file system: nothing left" [ -z "$(ls full)" ]
	fails 8 "full file system, data file" "No space left" create --data-file full/d full/x 1G
	holds "full file system: no data file left" [ -z "$(ls full)" ]
else
	ok "full file system # SKIP may not mount"
fi
