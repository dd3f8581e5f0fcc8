#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A device whose first request finds no memory for its reserves waits until they are full, and does not begin
# without them: every second allocation of an element of a reserve fails.
# timeout=30
# series=debug

# shellcheck source=tests/kselftest/dm-qcow2/starve.sh
. "$(dirname "$0")/starve.sh"

fail=/sys/kernel/debug/failslab

# Elements are slices of metadata, 4 KiB; the table of a reserve is small, and kmemleak's objects are of a cache of their own.
caches=(/sys/kernel/slab/kmalloc-*4k)
[ -e "${caches[0]}/failslab" ] || skip "this kernel cannot choose the cache"

# arm PERCENT: of every second such allocation below the function that fills reserves.
arm() {
	local setting cache
	for cache in "${caches[@]}"; do
		echo $(($1 > 0)) >"$cache/failslab"
	done
	for setting in "require-start ${range[0]}" "require-end ${range[1]}" "interval 2" "times -1" "verbose 0" \
		"stacktrace-depth 32" "ignore-gfp-wait N" "cache-filter Y" "probability $1"; do
		echo "${setting#* }" >"$fail/${setting% *}"
	done
}

scratch ext4
create a.qcow2 16M
read -ra range < <(grep -F '[dm_qcow2]' /proc/kallsyms | sort | awk 'at { print "0x" at, "0x" $1; exit }
	$3 == "qcow2_backend_fill" { at = $1 }')
want "where reserves are filled" [ "${#range[@]}" = 2 ]
attach q a.qcow2
arm 100
# It ends by itself: each call fills a part of what is missing.
want "the first write" dd if=/dev/zero of=/dev/mapper/q bs=64k count=1 oflag=direct status=none
arm 0
echo N >$fail/cache-filter
detach q
want "it has waited" grep -q "first request waits for memory" <(dmesg)
clean a.qcow2
ok "the first request waits for full reserves"
