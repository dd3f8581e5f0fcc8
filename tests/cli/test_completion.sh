#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Completion in bash offers every command and option of the table, and no other; values and operands where they belong.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

PATH="$(dirname "$Q"):$PATH"
# shellcheck source=userspace/completion/qcow2ctl
. "$TREE/userspace/completion/qcow2ctl"

# offers WORD...: what is offered for the last word, sorted, on one line. As bash does it, = is a word of its own.
offers() {
	local word
	COMP_WORDS=()
	for word in "$@"; do
		if [[ $word == --*=* ]]; then
			COMP_WORDS+=("${word%%=*}" "=")
			[ -z "${word#*=}" ] || COMP_WORDS+=("${word#*=}")
		else
			COMP_WORDS+=("$word")
		fi
	done
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	"$FUNCTION" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
	OFFERED=$(printf '%s\n' "${COMPREPLY[@]}" | sort -u | paste -sd " " -)
}

# is NAME WANTED WORD...
is() {
	local name=$1 wanted=$2
	shift 2
	offers "$@"
	holds "$name" [ "$OFFERED" = "$wanted" ]
	[ "$OFFERED" = "$wanted" ] || printf '# %s\n' "wanted $wanted" "offered $OFFERED"
}

FUNCTION=$(complete -p qcow2ctl | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
holds "bash has a function for qcow2ctl" [ -n "$FUNCTION" ]

# What the table has, read from the sources and not from help.
commands=$(sed -n '/cmd_all\[\] = {/,/}/p' "$TREE/userspace/cmd/help.c" | grep -o 'cmd_[a-z]*, \|cmd_[a-z]*,$' |
	sed 's/cmd_//; s/,.*//' | sort | paste -sd " " -)
holds "the sources have a table" [ "$(wc -w <<<"$commands")" -ge 24 ]
is "every command" "$(tr " " "\n" <<<"$commands --help" | sort | paste -sd " " -)" qcow2ctl ""
is "commands by their beginning" "rebase recover repair resize" qcow2ctl re
is "commands of a group" "apply create delete list" qcow2ctl snapshot ""
is "one of them" "delete" qcow2ctl snapshot d

all=$(tr " " "\n" <<<"$commands" | grep -vx 'snapshot'; printf 'snapshot %s\n' apply create delete list)
while read -r command; do
	read -ra words <<<"$command"
	options=$("$Q" help "${words[@]}" | sed -nE 's/^  (-., |    )(--[a-z0-9-]+).*/\2/p' | sort | paste -sd " " -)
	[ "$command" = help ] || is "$command: its options" "$options" qcow2ctl "${words[@]}" --
done <<<"$all"
# And attach once more, from the source.
offers qcow2ctl attach --
while read -r option; do
	holds "attach: --$option" grep -qw -- "--$option" <<<"$OFFERED"
done < <(sed -nE 's/^\t\{ "([a-z-]+)", .*CLI_[A-Z]+, AT.*/\1/p' "$TREE/userspace/cmd/attach.c")

is "a choice" "explicit follow none" qcow2ctl attach --chain ""
is "a choice after =" "follow" qcow2ctl attach --chain=f
is "all of them after =" "explicit follow none" qcow2ctl attach --chain=
is "a choice of a snapshot's option" "auto json none" qcow2ctl snapshot create --progress ""
is "layers" "clone delay era flakey linear mirror raw snapshot" qcow2ctl interpose disk ""
is "help of a command" "monitor move" qcow2ctl help mo
"$Q" create one.qcow2 1M
"$Q" create two.qcow2 1M
"$Q" snapshot create ./one.qcow2 tag
is "images" "one.qcow2 two.qcow2" qcow2ctl attach ""
is "an image after options" "one.qcow2" qcow2ctl attach -r --chain none --json o
is "a folder" "$PWD" qcow2ctl attach --chain=follow --allow-under "${PWD%?}"
is "a backing file" "two.qcow2" qcow2ctl attach --backing t
is "ids of snapshots" "1" qcow2ctl snapshot apply ./one.qcow2 ""
is "nothing for a number" "" qcow2ctl attach --full-timeout ""
is "no file where a device's name is" "" qcow2ctl detach one
is "nothing for a command that is none" "" qcow2ctl frobnicate ""
holds "a tool that is not there is no noise" [ -z "$(COMP_WORDS=(/no/such attach ""); COMP_CWORD=2; "$FUNCTION" /no/such "" attach 2>&1)" ]
