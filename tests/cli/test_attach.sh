#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What attach, detach, status and info refuse before they ask the kernel for anything.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
alone

"$Q" create base.qcow2 1M
truncate -s 1M base.raw

# Names.
for name in "" a/b "a b" $'a\nb' . .. control x.real x.frozen "$(printf 'x%.0s' {1..81})"; do
	fails 2 "name '${name@Q}'" "is no device name" attach base.qcow2 "$name"
done

# Good images with something that needs a decision.
evil make use
evil list use | cut -f 1 | xargs md5sum -- >"$DIR/.sums"
while IFS=$'\t' read -r name code regex; do
	fails "$code" "attach $name" "$regex" attach "$name" qcow2-test
done < <(evil list use)
holds "all are as they were" md5sum --quiet -c "$DIR/.sums"
call attach dirty qcow2-test
hints "dirty: what helps" "qcow2ctl repair dirty$"
call attach backing qcow2-test
hints "backing: the option to add" "--backing base.qcow2,format=FORMAT"
call attach "$PWD/backing" qcow2-test
hints "backing: relative to the image" "--backing $PWD/base.qcow2,format=FORMAT"
call attach backing_url qcow2-test
hints "URL: no path to add" "a local file in its place"
call attach backing_escape qcow2-test
holds "a name cannot drive the terminal" lacks "$ERR" $'\e'
hints "a name cannot break out of the hint" "[$]'/x.x1b\[2J.x0a[$]\(id\),format=FORMAT'"
call attach data_file qcow2-test
hints "data file: the option to add" "--data-file d.raw"
call attach bitmaps qcow2-test
hints "bitmaps: the option to add" "--drop-bitmaps"
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
call attach over.qcow2 qcow2-test
hints "format: as the image says" "--backing base.qcow2,format=qcow2"

# --backing.
fails 4 "a layer that nobody names" "names no backing file" attach base.qcow2 qcow2-test --backing base.raw,format=raw
fails 3 "a layer that is not there" "^qcow2ctl: gone: .*No such file" attach over.qcow2 qcow2-test --backing gone,format=qcow2
fails 1 "a layer that is not qcow2" "^qcow2ctl: base.raw: .*not a qcow2" attach over.qcow2 qcow2-test --backing base.raw,format=qcow2
fails 1 "a layer twice" "in the chain twice" attach over.qcow2 qcow2-test --backing over.qcow2,format=qcow2
cp base.qcow2 "odd,format=raw"
fails 2 "split at the last ,format=" "under a raw layer" attach over.qcow2 qcow2-test --backing "odd,format=raw,format=raw" --backing base.raw,format=raw
fails 4 "a data file that nobody names" "no external data file" attach base.qcow2 qcow2-test --data-file base.raw
qemu-img create -q -f qcow2 -o data_file=outside.data outside.qcow2 1M
truncate -s 512K short.data
fails 7 "a data file that is too short" "^qcow2ctl: short.data: .*data file has 524288 bytes, but the disk has 1048576$" attach outside.qcow2 qcow2-test --data-file short.data
fails 3 "a data file that is not there" "^qcow2ctl: gone: .*No such file" attach outside.qcow2 qcow2-test --data-file gone
fails 1 "a data file that is the image" "image and data file are the same" attach outside.qcow2 qcow2-test --data-file outside.qcow2
fails 9 "a view beside a data file" "snapshots of an image with a data file" attach --snapshot 1 outside.qcow2 qcow2-test --data-file outside.data
qemu-img create -q -f qcow2 -b outside.qcow2 -F qcow2 above.qcow2
fails 9 "a layer with a data file" "^qcow2ctl: outside.qcow2: .*on top only" attach above.qcow2 qcow2-test --backing outside.qcow2,format=qcow2

# --snapshot.
cp base.qcow2 snap.qcow2
"$Q" snapshot create ./snap.qcow2 one
fails 3 "no such snapshot" "^qcow2ctl: snap.qcow2: .*there is no snapshot 'two'" attach --snapshot two snap.qcow2 qcow2-test
fails 3 "a snapshot has a whole name" "there is no snapshot 'on'" attach --snapshot on snap.qcow2 qcow2-test
fails 3 "an image without snapshots" "there is no snapshot '1'" attach --snapshot 1 base.qcow2 qcow2-test

# --chain=follow.
mkdir -p in/deep out
cp base.qcow2 in/
cp base.qcow2 out/
ln -s ../out/base.qcow2 in/link.qcow2
overlay() { qemu-img create -q -u -f qcow2 -b "$2" -F "${3:-qcow2}" "$1" 1M; }
# follow NAME CODE REGEX BACKING [FORMAT]: an overlay in in/ whose names may lead to in/ only.
follow() {
	overlay in/over.qcow2 "$4" "${5:-}"
	fails "$2" "follow: $1" "$3" attach in/over.qcow2 qcow2-test --chain=follow --allow-under in
}
follow "a file elsewhere" 4 "beneath no --allow-under" "$PWD/out/base.qcow2"
follow "dot dot" 4 "beneath no --allow-under" "../out/base.qcow2"
follow "dot dot inside" 4 "beneath no --allow-under" "deep/../../out/base.qcow2"
follow "a symbolic link" 4 "beneath no --allow-under" "link.qcow2"
follow "a magic link" 4 "beneath no --allow-under" "/proc/self/fd/0"
follow "a missing file" 3 "No such file" "gone.qcow2"
follow "itself" 1 "in the chain twice" "over.qcow2"
follow "json:" 4 "which is not a file" 'json:{"file.filename":"base.qcow2"}'
follow "nbd:" 4 "which is not a file" "nbd:unix:/run/x"
follow "an unknown format" 9 'format "vmdk" is neither' base.qcow2 vmdk
cp backing in/over.qcow2
fails 4 "follow: no format" "does not say the format" attach in/over.qcow2 qcow2-test --chain=follow --allow-under in
hints "follow: no format: the option to add" "--backing in/base.qcow2,format=FORMAT"
mkdir in/folder.qcow2
follow "a directory" 1 "a directory" "folder.qcow2"

# No device of that name.
for command in detach status info; do
	if [ -e /dev/mapper/control ] && dmsetup version >/dev/null 2>&1; then
		fails 3 "$command of a device that is not there" "no such qcow2 device" "$command" qcow2-test-none
	else
		fails 3 "$command without device mapper" "no device mapper" "$command" qcow2-test-none
	fi
done

# Locks of another process.
qemu-img create -q -f qcow2 locked.qcow2 1M
coproc HOLD { exec qemu-io -f qcow2 locked.qcow2 2>&1; }
echo "read 0 512" >&"${HOLD[1]}"
read -r -u "${HOLD[0]}" _
holder=$HOLD_PID
fails 6 "locked for writing" "locked by another process \(byte 201\): qemu-io \(pid $holder\)" attach locked.qcow2 qcow2-test
fails 3 "locked, and no snapshot" "there is no snapshot" attach --snapshot one locked.qcow2 qcow2-test
fails 6 "locked for writing, wanted read-only" "byte [0-9]+\): qemu-io" attach -r locked.qcow2 qcow2-test
succeeds "info ignores locks" "virtual size" info ./locked.qcow2
eval "exec ${HOLD[1]}>&-"
wait "$holder"
