#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Manual page and documentation name every command and option that there is, and no other; each command has an
# example. (tests/harness looks whether the examples fit what the tool offers.)

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

man=$TREE/userspace/man/qcow2ctl.8
rst=$TREE/Documentation/qcow2ctl.rst
sed 's/\\-/-/g' "$man" >page
# section HEAD: that part of the page.
section() { awk -v head="$1" '/^\.S/ { on = $0 == head || index($0, head " ") == 1 } on' page; }
edits=$(section '.SH EDITS')
sed -n '/^\.SH EXAMPLES/,/^\.SH DESCRIPTION/s/^# \\fB\(.*\)\\fP$/\1/p' page >examples
commands=$("$Q" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
holds "there are commands" [ "$(wc -w <<<"$commands")" -ge 9 ]
offered=
all=()
for command in $commands; do
	mapfile -t -O ${#all[@]} all < <(echo "$command"; "$Q" help "$command" | sed -nE "s/^  ($command [a-z]+) .*/\1/p")
done
holds "there are commands of a group" grep -qx "snapshot create" <<<"$(printf '%s\n' "${all[@]}")"
for command in "${all[@]}"; do
	read -ra words <<<"$command"
	holds "$command is in the manual page" grep -q "^\.SS qcow2ctl $command" page
	[ "$command" = help ] || holds "$command has an example" grep -q "^qcow2ctl $command\b" examples
	holds "$command is in qcow2ctl.rst" grep -q "^${words[0]}  " "$rst"
	help=$("$Q" help "${words[@]}")
	options=$(grep -oE -- '(^| )--[a-z][a-z0-9-]*' <<<"$help" | tr -d ' ')
	offered+=$options$'\n'
	own=$(section ".SS qcow2ctl $command")
	twice=$(sed -nE 's/^\.B[IR]? (--[a-z-]+)( .*[a-zA-Z].*)?$/\1/p' <<<"$own" | sort | uniq -d)
	holds "$command: no option twice in its section $twice" [ -z "$twice" ]
	case $command in
	clone) own+=$(section '.SS qcow2ctl attach') ;;
	measure) own+=$(section '.SS qcow2ctl create') ;;
	snapshot\ [acd]* | resize | commit | rebase | repair) own+=$edits ;;
	esac
	for option in $options; do
		case $option in --quiet | --debug | --help) continue ;; esac
		[[ $own =~ $option($|[^a-z-]) ]] || notok "$command: its section has $option"
	done
	synopsis=$(sed -n '1s/.*\[option\.\.\.\] \?//p' <<<"$help")
	# The page marks arguments by fonts; its line of the command has the same words.
	line=$(grep "^\.SS qcow2ctl $command" page | sed 's/\\f[IPBR]//g')
	for word in $synopsis; do
		holds "$command: argument $word is in the manual page" grep -qF -- "$word" <<<"$line"
	done
done
offered=$(sort -u <<<"$offered" | sed '/^$/d')
for option in $offered; do
	holds "$option is in the manual page" grep -qw -- "$option" page
done
while read -r option; do
	holds "the manual page's $option exists" grep -qx -- "$option" <<<"$offered"
done < <(grep -oE -- '--[a-z][a-z0-9-]*' page | sort -u)
while read -r option; do
	[ "$option" = --json ] || holds "qcow2ctl.rst's $option exists" grep -qx -- "$option" <<<"$offered"
done < <(grep -oE -- '--[a-z][a-z0-9-]*' "$rst" | sort -u)

holds "no warning of the formatter" bash -c "[ -z \"\$(man --warnings -E UTF-8 -l '$man' 2>&1 >/dev/null)\" ]"
"$Q" create image 1M
call info --json ./image
printf '%s\n' "$OUT" >info.json
for key in $(python3 -c 'import json; print(*json.load(open("info.json")))'); do
	holds "qcow2ctl.rst has key $key" grep -q "\`\`$key\`\`" "$rst"
done
