#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Removal in every state, deferred and forced; noflush; nothing leaks.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create a.qcow2 8M
table a.qcow2 >line
dmsetup create q --notable
DEVICES+=(q)
dmsetup load q <line
detach q
clean a.qcow2
ok "removed with an inactive table only"
dmsetup create q <line
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=16 oflag=direct status=none
dmsetup suspend q
clean a.qcow2 -U
detach q
clean a.qcow2
ok "removed while suspended"
dmsetup create q <line
dmsetup suspend --noflush --nolockfs q
is q clean yes
dmsetup resume q
exec 7</dev/mapper/q
dmsetup remove --deferred q
want "gone too early" dmsetup info q >/dev/null
exec 7<&-
sleep 0.5
dmsetup info q >/dev/null 2>&1 && fail "deferred removal did not happen"
clean a.qcow2
ok "deferred removal"
dmsetup create q <line
dd if=/dev/zero of=/dev/mapper/q bs=4k oflag=direct status=none 2>/dev/null &
sleep 0.3
exec 7</dev/mapper/q
dmsetup remove --force q 2>/dev/null && fail "an open device was removed"
[[ $(dmsetup table q) == "0 "*" error"* ]] || fail "forced, it is still $(dmsetup table q)"
clean a.qcow2
wait
exec 7<&-
dmsetup remove --retry q
ok "forced removal under I/O"
