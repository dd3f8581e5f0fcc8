#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Layers without state over a mounted device with a writer on it, and snapshots made and deleted beneath.
# timeout=150
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

scratch ext4
remembered 64M
does interpose --list
want "a list of nothing" [ -z "$OUT" ]
put_in linear linear
does snapshot create q s1
[[ $OUT =~ paused\ q ]] || fail "create: $OUT"
inserted linear
does list
[[ $OUT == *" linear "*a.qcow2* ]] || fail "list: $OUT"
does status q
[[ $OUT == *linear* && $OUT == *active* ]] || fail "status: $OUT"
does snapshot list q
[[ $OUT == *s1* ]] || fail "snapshot list: $OUT"
taken_out
ok "linear, a snapshot beneath it"

put_in delay delay --ms 2
want "2 ms" [ "$(dmsetup table q | cut -d ' ' -f 6)" = 2 ]
does snapshot delete q s1
inserted delay
does check q
stands delay
taken_out
ok "delay, a snapshot deleted beneath it"

put_in flakey flakey --up 100 --down 0
does interpose --list
[[ $OUT == *"q "*flakey* ]] || fail "--list: $OUT"
taken_out
put_in striped raw --table ' striped 1 {SECTORS} {DEV} 0'
want "--list --json" python3 -c 'import json, sys
(row,) = json.loads(sys.argv[1])["layers"]
assert row["name"] == "q" and row["layer"] == "raw" and row["target"] == "striped", row
assert row["state"] is None and row["status"], row' "$("$QCOW2CTL" interpose --list --json)"
taken_out
ok "flakey, raw"
over
ok "image and data"
