#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Each step of an edit fails in turn, or meets SIGINT: an error, nothing half done, and the device runs.
# timeout=250
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
want "failing steps" steps fail shrink
ok "failing shrink"
writer /dev/mapper/q
want "failing steps" steps fail grow external
ok "failing grow and external"
stop_writer
runs q
detach q
clean a.qcow2
rm -f -- *.qcow2
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
want "SIGINT" steps int shrink
writer /dev/mapper/q
want "SIGINT" steps int external ${QCOW2_FULL:+create delete grow repair}
stop_writer
runs q
detach q
clean a.qcow2
ok "SIGINT"
