# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# For cases in which allocations of our module fail (pressure.py): who called is known from the stack.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

for name in failslab fail_page_alloc; do
	[ -e /sys/kernel/debug/$name/require-start ] || skip "this kernel has no $name with a filter of callers"
done
