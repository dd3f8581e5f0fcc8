#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Images made to keep a checker busy or to eat its memory: both stay bounded.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"

limit=1500000	# KiB of address space

# bounded CODE NAME COMMAND...
bounded() {
	local code=$1 name=$2
	shift 2
	OUT=$(ulimit -v $limit; timeout 60 "$Q" "$@" 2>"$DIR/.stderr")
	RC=$?
	ERR=$(head -c 1000 "$DIR/.stderr")
	if [ $RC = "$code" ]; then
		ok "$name"
	else
		notok "$name" "expected $code"
	fi
}

python3 "$TREE/tests/check/hostile.py" "$DIR" >names || notok "images are made" "failed"
while read -r name; do
	if [ "$name" = small_clusters ]; then
		bounded 1 "$name: check" check "./$name"
		bounded 7 "$name: repair" repair "./$name"
		continue
	fi
	bounded 2 "$name: check" check "./$name"
	bounded 0 "$name: repair" repair "./$name"
	bounded 0 "$name: check once more" check "./$name"
	# These two keep qemu-img busy for ages.
	case $name in
	same_table | many_snapshots) ;;
	*) holds "$name: qemu-img check" timeout 60 qemu-img check -q "$name" ;;
	esac
	rm "$name"
done <names
