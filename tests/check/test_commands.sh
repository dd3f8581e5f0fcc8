#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# check, repair, map and measure on everything that is no image, or not theirs: codes and sentences.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
alone

commands="check repair map measure"
declare -A action=([check]=check [repair]=repair [map]=map [measure]=measure)

# code COMMAND CODE: check has the exit codes of qemu-img check.
code() {
	case $1:$2 in
	check:9) echo 63 ;;
	check:*) echo 1 ;;
	*) echo "$2" ;;
	esac
}

# all CODE NAME FILE REGEX: all four commands refuse the file.
all() {
	local command
	for command in $commands; do
		fails "$(code "$command" "$1")" "$command: $2" "^qcow2ctl: .*: cannot ${action[$command]}: .*$4" "$command" "$3"
	done
}

for command in $commands; do
	succeeds "$command --help" "^Usage: qcow2ctl $command" "$command" --help
	succeeds "$command: --help wins" "^Usage: qcow2ctl $command" "$command" ./x --help
	succeeds "help $command" "^Usage: qcow2ctl $command" help "$command"
	fails 2 "$command: no argument" "missing argument" "$command"
	fails 2 "$command: unknown option" "unknown option '--no-such'" "$command" --no-such
	fails 2 "$command: one argument too many" "one argument too many: 'more'" "$command" ./x more
	fails 2 "$command: a flag takes no value" "takes no value" "$command" --help=yes
done
fails 2 "repair lists nothing" "unknown option '--json'" repair --json ./x
fails 2 "--progress" "none of auto" check --progress=loud ./x
fails 2 "measure: both" "contradict" measure --size 1M ./x
fails 2 "measure: options of create for an image" "contradict" measure --extended-l2 ./x
fails 2 "measure: a wrong size" "SIZE: '1Q' is not a" measure --size 1Q
fails 2 "measure: options of create are looked at" "power of two" measure --size 1M --cluster-size 1000K
fails 1 "measure: impossible" "needs clusters larger" measure --size 7T --cluster-size 512

mkdir folder
mkfifo fifo
: >empty
head -c 100000 /dev/zero >zeros
printf 'QFI\xfb\0\0\0\3' >short
all 3 "missing file" ./missing "No such file"
all 3 "missing folder" missing/missing "No such file"
all 1 "directory" ./folder "it is a directory"
all 1 "FIFO" ./fifo "it is a FIFO"
all 1 "character device" /dev/null "it is a character device"
all 1 "empty file" ./empty "not a qcow2 image"
all 1 "zeros" ./zeros "not a qcow2 image"
all 7 "header cut off" ./short "ends inside the header"

# Damaged headers. What a repair is for is no reason to refuse it.
evil make broken
evil list broken | cut -f 1 | xargs md5sum -- >.sums
while IFS=$'\t' read -r name code regex; do
	case $name in
	reftable_empty | tables_overlap | header_overlap | snapshots_too_many) continue ;;
	esac
	all "$code" "$name" "./$name" "$regex"
done < <(evil list broken)
holds "all are as they were" md5sum --quiet -c .sums
for name in reftable_empty tables_overlap header_overlap snapshots_too_many; do
	call check "./$name"
	holds "check: $name has errors" [ $RC = 2 ]
	fails 7 "map: $name" "" map "./$name"
	fails 7 "measure: $name" "" measure "./$name"
	call repair "./$name"
	holds "repair: $name" [ $RC = 0 ]
	succeeds "check: $name is mended" "errors: *0" check "./$name"
	holds "qemu-img check: $name is mended" qemu-img check -q "$name"
done

"$Q" help >list
for command in $commands; do
	holds "help lists $command" grep -qE "^  $command " list
done
call check --json ./reftable_empty
echo "$OUT" >object
holds "keys of check" json keys object version errors leaks repaired clusters allocated
call measure --json --size 1G
echo "$OUT" >object
holds "keys of measure" json keys object version required fully_allocated
