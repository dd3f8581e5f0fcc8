#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What the pages tell people to type exists: each command of qcow2ctl with its options, the options of qcow2tab and mount,
# the words of the target, the pages that others refer to, the tests that stories.rst names.

# shellcheck disable=SC2013,SC2016,SC2020	# words without blanks; patterns
set -u
cd "$(dirname "$0")/../.." || exit 1
failed=0
complain() { echo "$*"; failed=1; }
q=userspace/qcow2ctl
[ -x $q ] || { echo "$q: not built"; exit 1; }

# Calls: in rst between double backticks or in a literal block, in man pages after a prompt.
calls() {
	sed -n 's/\\&//g; s/\\f[BPRI]//g; s/\\-/-/g; s/^# \(qcow2ctl .*\)/\1/p' userspace/man/*
	cat Documentation/*.rst README.md | grep -oE '(``|^    (  )?)qcow2ctl [a-z][^`#|]*' | sed -E 's/^(``| +)//'
}
declare -A help=()
count=0
while read -r _ command word rest; do
	rest=${rest%%  *}
	group=$command
	[ "$command" != snapshot ] || group="snapshot $word"
	[ -n "${help[$group]:-}" ] || help[$group]=$(eval "$q help $group" 2>/dev/null)
	[ -n "${help[$group]}" ] || { complain "no command: qcow2ctl $command $word $rest"; continue; }
	for option in $(grep -oE -- '(^| )-(-[a-z0-9-]+|[a-z])\b' <<<" $word $rest"); do
		grep -qE -- "^ +(-., )?$option\b|^ +$option, " <<<"${help[$group]}" || complain "no $option: qcow2ctl $command $word $rest"
	done
	count=$((count + 1))
done < <(calls | sort -u)
[ $count -ge 80 ] || complain "only $count calls found"

# The manual pages know each option of qcow2tab and mount.qcow2, and the target's page each word, and no other.
dm=$(sed 's/\\//g; s/ *"//g' userspace/man/dm-qcow2.7)
for word in $(sed -nE 's/^\t\{ "([a-z_]+)", OPTION.*/\1/p' kernel/options.c); do
	grep -q "^\.BI\? $word" <<<"$dm" || complain "dm-qcow2(7): $word is missing"
done
named() { sed 's/\\-/-/g; s/"//g' "$1" | tr ' ,' '\n\n' | grep -oE '^[a-z_][a-z0-9_-]*' | sort -u; }
for option in $(sed -n '/^add_option()/,/^}/p; /^read_option()/,/^}/p' userspace/boot/entry.sh |
	grep -E '^	[a-z_*].*\) ?' | grep -oE '[a-z_][a-z0-9_-]*=?' | grep -E '^(read-only|readonly|ro|nofail|noauto|partscan|x-initrd|drop-bitmaps|repair|_netdev|.*=)$' | tr -d = | sort -u); do
	grep -qx "$option" <(named userspace/man/qcow2tab.5) || complain "qcow2tab(5): $option is missing"
done
for option in partition name fstype snapshot; do
	grep -q "$option=" userspace/boot/mount.qcow2 || complain "mount.qcow2 has no $option="
	grep -qx "$option" <(named userspace/man/mount.qcow2.8) || complain "mount.qcow2(8): $option is missing"
done
for page in userspace/man/*; do
	[ -z "$(man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)" ] || complain "$page: $(man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)"
	sections=$(sed -n 's/^\.SH //p' "$page" | head -n 3 | paste -sd' ')
	[ "$sections" = "NAME SYNOPSIS EXAMPLES" ] || complain "$page: examples do not come first: $sections"
done

# Each page is well formed: a table whose text stands in a margin is none.
if ! said=$(/usr/bin/python3 - Documentation/*.rst Documentation/*/*.rst 2>&1 <<'END'
import sys
from docutils import core, nodes
from docutils.parsers.rst import roles
roles.register_generic_role("doc", nodes.literal)
for page in sys.argv[1:]:
    with open(page, encoding="utf-8") as file:
        core.publish_doctree(file.read(), page, settings_overrides={"report_level": 2, "halt_level": 5})
END
) || [ -n "$said" ]; then
	complain "$said"
fi

# References between pages; stories and their tests.
for page in $(grep -ohE ':doc:`[a-z0-9/-]+`' Documentation/*.rst | sed 's/.*`\(.*\)`/\1/' | sort -u); do
	[ -e "Documentation/$page.rst" ] || complain "there is no page $page"
done
for page in Documentation/*.rst; do
	name=$(basename "$page" .rst)
	[ "$name" = index ] || grep -q ":doc:\`$name\`" Documentation/index.rst || complain "$page: not in the index"
done
[ "$(grep -cE '^[0-9]+ +[a-z]' Documentation/stories.rst)" = 20 ] || complain "stories.rst: not twenty"
for test in $(grep -oE '\b[a-z]+_[0-9]{2}\b' Documentation/stories.rst | sort -u); do
	[ -x "tests/kselftest/dm-qcow2/test_$test.sh" ] || [ -x "tests/boot/test_$test.sh" ] || complain "stories.rst: no test $test"
done
for number in 1 4 5 6 7 8 9 10 11 12 13 14 17 18 19 20; do
	grep -qE "^ok \"([0-9, ]*, )?${number}[,.]" tests/kselftest/dm-qcow2/test_story_01.sh || complain "story_01: no story $number"
done
exit $failed
