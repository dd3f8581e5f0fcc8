#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Many devices read one base; each comes and goes, and the last one unlocks it.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

export SECTORS=16384
count=24
scratch ext4
create base.qcow2 8M
io base.qcow2 'write -P 5 0 64k'
create -b base.qcow2 -F qcow2 o0.qcow2
for ((i = 1; i < count; i++)); do cp o0.qcow2 "o$i.qcow2"; done
for ((i = 0; i < count; i++)); do
	attach "o$i" "o$i.qcow2" -b qcow2:base.qcow2
done
holds base.qcow2 "$RO 300"
device_io "o$((count - 1))" 'read -P 5 0 64k' 'write -P 6 0 4k'
device_io o0 'read -P 5 0 64k'
ok "$count devices"

refused "Device or resource busy" "in use by device o" attach bad base.qcow2
refused "Device or resource busy" "in use by device o" dmsetup load o3 --table "$(table base.qcow2)"
attach_ro ro base.qcow2
refused "Device or resource busy" "in use by device" attach bad base.qcow2
detach ro
ok "none of them writes the base"

dmsetup suspend o5
holds base.qcow2 "$RO 300"
refused "Device or resource busy" "in use by device o" attach bad base.qcow2
dmsetup resume o5
mapfile -t order < <(seq 0 $((count - 1)) | shuf --random-source=base.qcow2)
for i in "${order[@]:1}"; do
	detach "o$i"
	[ $((i % 8)) != 0 ] || holds base.qcow2 "$RO 300"
done
holds base.qcow2 "$RO 300"
refused "Device or resource busy" "in use by device o${order[0]} " attach bad base.qcow2
dmsetup suspend "o${order[0]}"
holds base.qcow2 "$RO"
refused "Device or resource busy" "in use by device o${order[0]} " attach bad base.qcow2
detach "o${order[0]}"
holds base.qcow2 ""
attach q base.qcow2
detach q
ok "removed in any order"
