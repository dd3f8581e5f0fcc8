# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# What the tests here share that look at a machine from outside: a folder of their own, and results. They run in the tree's folder.

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
log=$temp/out	# shown in part when something fails
n=0
# shellcheck disable=SC2034	# what a test ends with
bad=0

# result NAME CODE: 0 is good.
result() {
	n=$((n + 1))
	if [ "$2" = 0 ]; then
		echo "ok $n $1"
	else
		echo "not ok $n $1"
		[ ! -e "$log" ] || tail -n 60 "$log" | sed 's/^/# /'
		# shellcheck disable=SC2034
		bad=1
	fi
}
