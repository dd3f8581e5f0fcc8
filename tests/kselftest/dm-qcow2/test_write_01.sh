#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Random writes, zeroes and discards from four threads: content, no errors, no leaks.
# cpus=2
# timeout=200
# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
for kind in $(halved 512:1.1 512:0.10 4k:0.10 4k:1.1 64k:1.1 64k:0.10 1M:0.10 1M:1.1); do
	size=${kind%:*} compat=${kind#*:}
	create -o "cluster_size=$size,compat=$compat" a.qcow2 16M
	truncate -s 16M model.raw
	attach q a.qcow2
	exercise q model.raw 1 60
	exercise q model.raw 2 60 -w -m 300
	detach q
	clean a.qcow2
	same a.qcow2 model.raw
	ok "cluster_size $size compat $compat"
	rm a.qcow2 model.raw
done
