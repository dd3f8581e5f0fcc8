#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Which snapshot a word means, also of a disk of no bytes; names of backing files of any length, and one that is not there.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
alone

clean() { holds "$1: clean" qemu-img check -q -f qcow2 "$2"; }

# ids before tags, as qemu-img.
"$Q" create names 1M
"$Q" snapshot create ./names 2
"$Q" snapshot create ./names 1
"$Q" snapshot create ./names "with blank, ü"
succeeds "delete 1" "^$" snapshot delete ./names 1
succeeds "it was the id" "^2 +1 " snapshot list ./names
succeeds "delete 1 again" "^$" snapshot delete ./names 1
succeeds "it was the tag" "^3 +with blank, " snapshot list ./names
succeeds "the next id is one more than the highest" "^$" snapshot create ./names new
succeeds "the next id" "^4 +new " snapshot list ./names
succeeds "a tag of any letters" "^$" snapshot apply ./names "with blank, ü"
clean "names" names

# A disk of no bytes, which has no table.
qemu-img create -q -f qcow2 nothing 0
for words in "create ./nothing one" "create ./nothing two" "apply ./nothing one" "delete ./nothing one"; do
	read -ra cmd <<<"$words"
	succeeds "nothing: ${cmd[0]}" "^$" snapshot "${cmd[@]}"
	clean "nothing: ${cmd[0]}" nothing
done
holds "nothing: qemu-img applies it" qemu-img snapshot -a two nothing
succeeds "nothing: grow" "^$" resize ./nothing 1M
clean "nothing: grow" nothing

# Names of any length, in headers of all kinds.
RANDOM=4711
letters=$(printf 'abcdefgh%.0s' {1..128})
for options in "" compat=0.10 cluster_size=1k cluster_size=2M data_file=data; do
	qemu-img create -q -f qcow2 ${options:+-o "$options"} header 1M
	bad=
	for round in {1..25}; do
		# Two long names have no room in small clusters, since the old one stays until the end.
		length=$((RANDOM % (round % 3 ? 100 : 1023) + 1))
		[[ $options != *1k ]] || length=$((length % 250 + 1))
		name=${letters:round:length}
		format=$((RANDOM % 2 ? 1 : 0))
		format=${format/1/raw}
		format=${format/0/qcow2}
		if ((round % 5)); then
			"$Q" rebase --unsafe --backing "$name,format=$format" header || bad+=" $round"
		else
			"$Q" rebase --unsafe --no-backing header || bad+=" $round"
			name='' format=''
		fi
		[ "$(qemu-img info -f qcow2 --output=json header | python3 -c 'import json, sys
info = json.load(sys.stdin)
print(info.get("backing-filename", ""), info.get("backing-filename-format", ""))')" = "$name $format" ] || bad+=" $round"
	done
	holds "names in a header, ${options:-default}" [ -z "$bad" ]
	call info --json ./header
	holds "names in a header, ${options:-default}: we read it" [ $RC = 0 ]
done

# A header that ends in the last bytes of its cluster: there is no room behind them.
qemu-img create -q -f qcow2 -o cluster_size=1k full 1M
python3 -c '
import struct
with open("full", "r+b") as file:
    head = bytearray(file.read(1024))
    head[8:20] = struct.pack(">QI", 1017, 7)
    head[100:104] = struct.pack(">I", 993)
    head[112:] = bytes(993 - 112) + struct.pack(">II8sII", 0xE2792ACA, 5, b"qcow2", 0, 0) + b"old.qc2"
    file.seek(0)
    file.write(head)'
sum=$(md5sum <full)
fails 1 "header without room" "the header has no room" rebase --unsafe --backing b.qc,format=qcow2 ./full
holds "header without room: not a byte" [ "$sum" = "$(md5sum <full)" ]

# Without its backing file nobody knows how long that is: all that is gained is hidden.
for kind in qcow2 raw; do
	rm -f over base
	qemu-img create -q -f $kind base 2M
	qemu-io -f $kind -c "write -P 9 0 2M" base >/dev/null
	qemu-img create -q -f qcow2 -b base -F $kind over 1M
	mv base away
	succeeds "$kind, away: grow" "^$" resize ./over 3M
	fails 3 "$kind, away: commit" "^qcow2ctl: ./base: .*No such file" commit over
	mv away base
	holds "$kind, away: hidden" bash -c "qemu-io -f qcow2 -c 'read -P 0 1M 2M' -c 'read -P 9 0 1M' over | grep -c failed | grep -qx 0"
	clean "$kind, away" over
	succeeds "$kind: commit" "^$" commit over
	holds "$kind: committed" bash -c "qemu-io -f $kind -c 'read -P 0 1M 2M' -c 'read -P 9 0 1M' base | grep -c failed | grep -qx 0"
done
