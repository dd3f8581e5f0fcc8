#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Images in a state that an edit cannot do with: a sentence, an exit code, and not a byte changed. And
# what edits print: plans, progress, lists.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
alone

img() { qemu-img "$@" >/dev/null; }
make_image() { img create -q -f qcow2 "$@"; }
io() { qemu-io -f qcow2 "$@" >/dev/null; }

# refuses CODE NAME REGEX IMAGE WORD...
refuses() {
	local code=$1 name=$2 regex=$3 image=$4 sum
	shift 4
	sum=$(md5sum <"$image")
	fails "$code" "$name" "$regex" "$@"
	[ "$sum" = "$(md5sum <"$image")" ] || notok "$name" "the image changed"
}

make_image base 2M
make_image -b "$PWD/base" -F qcow2 over
io -c "write -P 1 0 300k" over
cp over snap
img snapshot -c snap snap
make_image v2 -o compat=0.10 2M
io -c "write -P 1 0 300k" v2
img snapshot -c snap v2
make_image data -o data_file=data.raw 2M
mkdir elsewhere
make_image moved -o data_file=elsewhere/../data.moved 2M
make_image elsewhere/far -o data_file="$PWD/far.raw" 2M
make_image lost_data -o data_file=data.lost 2M && rm data.lost
make_image linked -o data_file=data.link 2M && ln -sf data.raw data.link
make_image self -o data_file=data.self 2M && ln -f self data.self
make_image cut -o data_file=data.cut 2M && truncate -s 1M data.cut
make_image folder -o data_file=data.folder 2M && rm data.folder && mkdir data.folder
make_image raw_over -o data_file=raw_over.raw,data_file_raw=on 2M
make_image one -o refcount_bits=1 2M
io -c "write -P 1 0 300k" one
cp snap bitmaps
img bitmap --add bitmaps daily
evil make dirty
evil make corrupt

# Snapshots.
for verb in apply delete; do
	refuses 3 "$verb: no such snapshot" "there is no snapshot 'other'" snap snapshot $verb ./snap other
	refuses 3 "$verb: none at all" "there is no snapshot '1'" over snapshot $verb ./over 1
done
refuses 4 "create: tag taken" "there is a snapshot 'snap' already" snap snapshot create ./snap snap
for verb in "create ./data new" "apply ./data 1" "delete ./data 1"; do
	# shellcheck disable=SC2086 # list of words
	refuses 9 "${verb%% *}: data file" "external data file" data snapshot $verb
done
refuses 9 "create --external: data file" "external data file" data snapshot create --external new ./data
refuses 9 "create: counts of 1 bit" "a reference count of 1 bit cannot hold one more" one snapshot create ./one new
refuses 9 "apply: bitmaps" "persistent bitmaps" bitmaps snapshot apply ./bitmaps snap
refuses 4 "create --external: existing" "^qcow2ctl: over: .*exists already" snap snapshot create --external over ./snap
refuses 3 "create --external: no folder" "^qcow2ctl: gone/x: " snap snapshot create --external gone/x ./snap
for word in dirty corrupt; do
	for verb in "snapshot create ./$word x" "snapshot create --external x ./$word" "snapshot apply ./$word 1" \
		"snapshot delete ./$word 1" "resize ./$word 2M" "resize --shrink ./$word 512K" "commit $word" "rebase --unsafe --no-backing $word"; do
		# shellcheck disable=SC2086
		refuses 7 "${verb%% *}: $word" "image is .*$word" $word $verb
		hints "${verb%% *}: $word" "qcow2ctl repair ./$word"
	done
done
holds "no overlay was made" absent x
holds "no overlay was made" absent new

# Sizes.
refuses 4 "smaller" "has 2097152 bytes, what lies behind 1048576 would be lost" snap resize ./snap 1M
hints "smaller: the option" "--shrink"
refuses 4 "smaller by" "would be lost" snap resize ./snap -512
refuses 1 "smaller than nothing" "has 2097152 bytes only" snap resize --shrink ./snap -3M
refuses 1 "larger than can be" "no disk can have so many" snap resize ./snap +9223372036854775296
refuses 1 "larger than its clusters allow" "needs clusters larger than 65536 bytes" snap resize ./snap 8000000T
refuses 9 "version 2 with snapshots" "version 2 that has snapshots" v2 resize ./v2 3M
refuses 9 "version 2 with snapshots, smaller" "version 2 that has snapshots" v2 resize --shrink ./v2 1M
# A data file is followed where the image lies, and nowhere else.
for size in "3M" "--shrink 1M"; do
	# shellcheck disable=SC2086
	{
		refuses 4 "resize: data file elsewhere" "data file .*/far.raw.*, which is no file of its own folder" elsewhere/far resize ./elsewhere/far $size
		hints "resize: data file elsewhere: how" "attach .*--data-file"
		refuses 4 "resize: data file by a link" "data.link.*, which is no file of its own folder" linked resize ./linked $size
		refuses 3 "resize: no data file" "names the data file .data.lost.: No such file" lost_data resize ./lost_data $size
		refuses 1 "resize: data file is the image" "image and data file are the same" self resize ./self $size
		refuses 7 "resize: data file too short" "^qcow2ctl: ./data.cut: .*has 1048576 bytes, but the disk has 2097152" cut resize ./cut $size
		refuses 1 "resize: data file is a folder" "^qcow2ctl: ./data.folder: .*it is a directory" folder resize ./folder $size
	}
done
coproc holder { exec qemu-io -f raw data.raw 2>&1; }
echo "read 0 512" >&"${holder[1]}"
until read -r said <&"${holder[0]}" && [[ $said == *"read 512/512"* ]]; do :; done
refuses 6 "resize: data file of qemu-io" "^qcow2ctl: ./data.raw: .*locked by another process .*qemu-io" data resize ./data 3M
# shellcheck disable=SC2154 # coproc
pid=$holder_PID
echo quit >&"${holder[1]}"
wait "$pid"
succeeds "resize: data file in a folder below" "^$" resize ./moved 3M
holds "resize: it is as long as the disk" [ "$(stat -c %s data.moved)" = $((3 << 20)) ]
succeeds "resize: plan with a data file" "^image    ./data.raw$" resize --dry-run ./data 3M
holds "resize: plan with a data file: not done" [ "$(stat -c %s data.raw)" = $((2 << 20)) ]
refuses 9 "resize: bitmaps" "persistent bitmaps" bitmaps resize ./bitmaps 3M
sum=$(md5sum <snap)
succeeds "the size that it has" "^$" resize ./snap 2M
holds "the size that it has: not a byte" [ "$sum" = "$(md5sum <snap)" ]
refuses 4 "size and dry run" "would be lost" snap resize --dry-run ./snap 1M

# Backing files.
refuses 4 "commit: no backing file" "names no backing file" base commit base
refuses 4 "commit: snapshots" "which read from the backing file" snap commit snap
hints "commit: snapshots" "snapshot delete ./snap ID"
cp over lost && "$Q" rebase --unsafe --backing gone,format=qcow2 lost
refuses 3 "commit: backing file is gone" "^qcow2ctl: ./gone: .*No such file" lost commit lost
"$Q" rebase --unsafe --backing lost,format=qcow2 lost
refuses 1 "commit: its own backing file" "is its own backing file" lost commit lost
"$Q" rebase --unsafe --backing nbd://host/x,format=raw lost
mkdir away
img create -f qcow2 -b "$PWD/base" -F qcow2 -o "data_file=$PWD/far" away/over
refuses 4 "commit: a data file that is somebody's" "data file" away/over commit away/over
refuses 4 "commit: a protocol" "which is not a file" lost commit lost
"$Q" rebase --unsafe --backing "$PWD",format=raw lost
refuses 1 "commit: a folder" "it is a directory" lost commit lost
"$Q" rebase --unsafe --backing one,format=qcow2 lost
img bitmap --add base daily
refuses 9 "commit: bitmaps below" "^qcow2ctl: $PWD/base: .*persistent bitmaps" over commit over
img bitmap --remove base daily
make_image small -o cluster_size=512 1M
refuses 1 "rebase: too long a name" "no room" small rebase --unsafe small --backing "$(printf './%.0s' {1..300}),format=raw"
refuses 1 "rebase: longer than can be" "more than 1023 bytes" over rebase --unsafe over --backing "$(printf './%.0s' {1..600}),format=raw"
make_image raw_data -o data_file=raw_data.raw,data_file_raw=on 2M
refuses 4 "rebase: raw data file" "has no backing file" raw_data rebase --unsafe raw_data --backing base,format=qcow2

# Plans.
for words in "snapshot create ./snap other" "snapshot apply ./snap snap" "snapshot delete ./snap snap" \
	"resize ./snap +5M" "resize --shrink ./snap 64K" "commit over" "rebase --unsafe --no-backing over"; do
	read -ra cmd <<<"$words"
	image=${cmd[-1]}
	[ -f "$image" ] || image=snap
	sum=$(cat "$image" base | md5sum)
	succeeds "plan: ${words%% ./*}" "^write +0 +512 +header$" "${cmd[@]}" --dry-run
	holds "plan: ${words%% ./*}: nothing before the barrier but free clusters" python3 -c '
import sys
lines = sys.argv[1].split("\n")
at = [number for number, line in enumerate(lines) if line.endswith("  header")]
assert all(lines[number - 1] == lines[number + 1] == "barrier" for number in at), lines' "$OUT"
	holds "plan: ${words%% ./*}: nothing is written" [ "$sum" = "$(cat "$image" base | md5sum)" ]
done
succeeds "plan: overlay" "^create   new over $PWD/base$" snapshot create --dry-run --external new ./base
holds "plan: overlay: not made" absent new

# Lists.
succeeds "list: headings" "^ID TAG +DATE +SIZE VMSTATE$" snapshot list ./snap
succeeds "list: a snapshot" "^1 +snap +20.* 2M +0B$" snapshot list ./snap
succeeds "list --json: none" '"snapshots": ?\[' snapshot list --json ./over
call snapshot list --json ./snap
holds "list --json" python3 -c 'import json, sys
one, = json.loads(sys.argv[1])["snapshots"]
assert one["id"] == "1" and one["tag"] == "snap" and one["size"] == 2 << 20 and one["vmstate"] == 0, one' "$OUT"
fails 3 "list: missing file" "No such file" snapshot list ./gone
