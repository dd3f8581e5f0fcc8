#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every command answers wrong words with exit code 2, an error, and nothing else.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
alone

# battery COMMAND TOO-FEW ENOUGH: arguments, each a list of words.
battery() {
	local command=$1 few=$2 enough=$3
	succeeds "$command --help" "^Usage: qcow2ctl $command" "$command" --help
	# shellcheck disable=SC2086 # lists of words
	succeeds "$command: --help wins over arguments" "^Usage: qcow2ctl $command" "$command" $enough --help
	succeeds "help $command" "^Usage: qcow2ctl $command" help "$command"
	fails 2 "$command: unknown option" "unknown option '--no-such'" "$command" --no-such
	fails 2 "$command: unknown letter" "unknown option '-Z'" "$command" -Z
	fails 2 "$command: no abbreviations" "unknown option '--hel'" "$command" --hel
	fails 2 "$command: a flag takes no value" "takes no value" "$command" --help=yes
	# shellcheck disable=SC2086
	fails 2 "$command: one argument too many" "one argument too many: 'more'" "$command" $enough more
	hints "$command: where help is" "qcow2ctl help $command"
	if [ "$few" != none ]; then
		# shellcheck disable=SC2086
		fails 2 "$command: missing argument" "missing argument" "$command" $few
	fi
}

battery attach "x.qcow2" "x.qcow2 name"
battery detach "" "name"
battery list none "x.qcow2"
battery status "" "name"
battery info "" "./x.qcow2"
battery create "" "x.qcow2 1M"
battery clone "x.qcow2 y.qcow2" "x.qcow2 y.qcow2 name"
battery resize "./x.qcow2" "./x.qcow2 1M"
battery commit "" "x.qcow2"
battery rebase "--unsafe" "--unsafe --no-backing x.qcow2"
battery interpose "name" "name linear"
battery move "name" "name dest.qcow2"
battery checkpoint "" "name"
battery changes "" "name"
battery backup "" "--to x.qcow2 name"
battery recover none "name"
battery version none ""
battery help none "help"

succeeds "monitor --help" "^Usage: qcow2ctl monitor" monitor --help
fails 2 "monitor: unknown option" "unknown option '--no-such'" monitor --no-such
fails 2 "monitor: no such event" "not low-water, full" monitor --on boom=true
fails 2 "monitor: no command" "not low-water, full" monitor --on full
fails 2 "monitor: an event twice" "full is given twice" monitor --on full=true --on full=false

for words in "--list name" "--list --remove" "--json name linear" "--remove name linear" "--remove" "name lasagne" \
	"name linear --ms 1" "name era --to x" "name raw" "name era --block 5K" "name era --block 2K" \
	"name snapshot --cow-size 512" "name flakey --up 0" "name delay --ms soon"; do
	# shellcheck disable=SC2086
	fails 2 "interpose $words" "" interpose $words
done
for words in "--format vmdk" "--via rsync" "--bwlimit fast" "--bwlimit 2K" "--bwlimit" "--timeout soon" "--progress loud"; do
	# shellcheck disable=SC2086
	fails 2 "move $words" "" move name dest.qcow2 $words
done
holds "no wrong move made a file" absent dest.qcow2
for words in "name" "name --to x --nbd unix:y" "name --nbd y" "name --nbd unix:" "name --nbd unix:y --since 1" \
	"name --to - --since 1" "name --to - --checkpoint" "name --to x --base y,format=qcow2" \
	"name --to x --since 1 --base y" "name --to x --via mirror" "name --to x --bwlimit 0" \
	"name --to x --bwlimit 100" "name --to x --bwlimit fast" "name --to x --deadline 0" \
	"name --to x --deadline soon" "name --to= " "name --to x --since=" "name --to x --progress=bar"; do
	# shellcheck disable=SC2086
	fails 2 "backup $words" "" backup $words
done
fails 2 "changes since nothing" "empty name" changes name --since=
for command in checkpoint changes "backup --to x.qcow2" "backup --to -"; do
	# shellcheck disable=SC2086
	call $command no-such-device
	holds "$command of nothing" [ "$RC" = 1 -o "$RC" = 3 ]
	holds "$command made nothing" absent x.qcow2
done
fails 2 "raw with an empty table" "names no target" interpose name raw --table " "

fails 2 "no command" "no command given"
hints "no command: where help is" "qcow2ctl help"
fails 2 "unknown command" "'frobnicate' is not a command" frobnicate
fails 2 "empty command" "'' is not a command" ""
fails 2 "option before the command" "unknown option '--json'" --json list
fails 2 "help of an unknown command" "'frobnicate' is not a command" help frobnicate
succeeds "--help" "^Commands:" --help
succeeds "help" "^Commands:" help
for command in attach detach list status info create clone snapshot resize commit rebase check repair map measure interpose \
	checkpoint changes backup move monitor recover version help; do
	holds "help lists $command" grep -qE "^  $command " <<<"$OUT"
done
# What is not built yet is not offered.
holds "help does not offer snapshots of clones" bash -c "! '$Q' help clone | grep -qw -- --snapshot"

# Values of options.
fails 2 "option without its value" "needs a value" attach x.qcow2 name --backing
for size in 1 511 513 1Kb K -1 1.5G 0x200 "" 18446744073709551616 9223372036854775808 8388608T; do
	fails 2 "SIZE '$size'" "SIZE: '$size' is not a" create x.qcow2 "$size"
done
holds "no wrong SIZE made a file" absent x.qcow2
fails 2 "--cache 100" "not a multiple of 512" attach x.qcow2 name --cache 100
fails 2 "--cache 512" "1K to 32M" attach x.qcow2 name --cache 512
fails 2 "--cache 33M" "1K to 32M" attach x.qcow2 name --cache 33M
fails 3 "an option before the word of a group" "x.qcow2" snapshot --json list ./x.qcow2
fails 2 "an unknown one there" "unknown option '--bogus'" snapshot --bogus list ./x.qcow2
fails 2 "nothing but options" "unknown option '-q'" snapshot --json -q
fails 2 "--timeout 0" "not a number from 1 to" snapshot create --timeout 0 name x
fails 2 "--when-full wait" "none of queue.error" attach x.qcow2 name --when-full wait
fails 2 "--when-full queue|error" "none of" attach x.qcow2 name --when-full 'queue|error'
fails 2 "--when-full with nothing" "none of" attach x.qcow2 name --when-full=
fails 2 "--discard maybe" "none of pass.keep" attach x.qcow2 name --discard maybe
fails 2 "--chain all" "none of explicit" attach x.qcow2 name --chain=all
fails 2 "--commit-ms 0" "number from 1" attach x.qcow2 name --commit-ms 0
fails 2 "--commit-ms soon" "not a number" attach x.qcow2 name --commit-ms soon
fails 2 "--full-timeout -1" "not a number" attach x.qcow2 name --full-timeout=-1
fails 2 "--wait" "not a number" detach --wait now name
fails 2 "follow without a folder" "needs --allow-under" attach x.qcow2 name --chain follow
fails 2 "a folder without follow" "goes with --chain=follow" attach x.qcow2 name --allow-under /
fails 2 "--backing without a format" "is not PATH,format" attach x.qcow2 name --backing base.qcow2
fails 2 "--backing without a path" "is not PATH,format" attach x.qcow2 name --backing ,format=raw
fails 2 "--backing with another format" "neither qcow2 nor raw" attach x.qcow2 name --backing b,format=vmdk
fails 2 "a layer under a raw one" "under a raw layer" attach x.qcow2 name --backing b,format=raw --backing c,format=raw

# -- ends the options; options may come last.
fails 3 "-- ends options" "^qcow2ctl: --json: cannot list devices: No such file" list -- --json
fails 3 "a name that starts with a dash" "^qcow2ctl: -x: cannot" attach -- -x name
call attach --debug no-such-file name
holds "--debug says more" grep -q "^debug: " <<<"$ERR"
call -q
holds "an option is no command" [ "$RC" = 2 ]

# Quiet: errors only.
call info --quiet x.qcow2
holds "-q: still an error" grep -q "^qcow2ctl: " <<<"$ERR"
touch x.qcow2
call info x.qcow2
hints "info of a name that is a file" "./x.qcow2"
call info -q x.qcow2
holds "-q: no hint" lacks "$ERR" hint:

# A result that cannot be written is no success.
"$Q" help >/dev/full 2>"$DIR/.stderr"
RC=$? ERR=$(cat "$DIR/.stderr")
holds "stdout is full" [ $RC = 8 ]
holds "stdout is full: said so" grep -q "stdout: cannot write the result" <<<"$ERR"
