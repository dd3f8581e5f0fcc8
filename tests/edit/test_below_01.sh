#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A disk that grows over a backing file: the name in the image is followed beside it, and nowhere else.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"

clean() { holds "$1: clean" qemu-img check -q -f qcow2 "$2"; }
# reads IMAGE COMMAND...: qemu-io finds what these commands look for.
reads() {
	local image=$1 words=()
	shift
	for command in "$@"; do words+=(-c "$command"); done
	qemu-io -f qcow2 "${words[@]}" "$image" >said && ! grep -q failed said
}

mkdir -p images/below other
for place in other images images/below; do
	head -c 70000 /dev/zero | tr '\0' S >$place/secret
done
ln -s ../other/secret images/link
mkfifo images/fifo

# over NAME SIZE [OPTION...]: images/over, over what it calls NAME.
over() { qemu-img create -q -u -f qcow2 -b "$1" -F raw "${@:3}" images/over "$2"; }

# Elsewhere: a byte of it in the image would be anybody's file in a stranger's disk.
for options in "" "../other/secret -ocompat=0.10" "link -oextended_l2=on"; do
	# shellcheck disable=SC2086 # words
	set -- ${options:-"$DIR/other/secret"}
	over "$1" 512 "${@:2}"
	sum=$(md5sum <images/over)
	fails 4 "last cluster over $*" "names a backing file .*, which is no file of its own folder" resize ./images/over +1M
	hints "last cluster over $*: how" "attach --backing PATH,format=FORMAT ./images/over"
	holds "last cluster over $*: not a byte" [ "$sum" = "$(md5sum <images/over)" ]
	# Nobody asked how long it is.
	over "$1" 64k "${@:2}"
	succeeds "whole clusters over $*" "^$" resize ./images/over +1M
	holds "whole clusters over $*: hidden" reads images/over "read -P 83 0 64k" "read -P 0 64k 1M"
	clean "whole clusters over $*" images/over
done
over "$DIR/other/secret" 512
qemu-io -f qcow2 -c "write -P 7 0 512" images/over >/dev/null
succeeds "a last cluster of its own" "^$" resize ./images/over +1M
holds "a last cluster of its own: hidden" reads images/over "read -P 7 0 512" "read -P 0 512 1M"
over fifo 512
fails 4 "a pipe" "which is no file of its own folder" resize ./images/over +1M
over lost 512
fails 3 "no such file" "which is not there" resize ./images/over +1M
over nbd://host/x 512
fails 4 "a protocol" "which is not a file" resize ./images/over +1M

# Beside the image.
for name in secret below/secret "$DIR/images/secret" ../images/below/../secret; do
	over "$name" 512
	succeeds "beside: $name" "^$" resize ./images/over +1M
	holds "beside: $name: hidden" reads images/over "read -P 83 0 512" "read -P 0 512 1M"
	clean "beside: $name" images/over
done
# What that names is in its folder, too, or not read.
(cd images && qemu-img create -q -u -f qcow2 -b "$DIR/other/secret" -F raw below/middle 512 &&
	qemu-img create -q -u -f qcow2 -b below/middle -F qcow2 over 512)
fails 4 "elsewhere, two layers below" "^qcow2ctl: ./images/below/middle: .*which is no file of its own folder" resize ./images/over +1M
