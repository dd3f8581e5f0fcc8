#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The table is printed so that it can be loaded again, with real paths, quoted, options in order.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
mkdir 'a dir\with'
create 'a dir\with/im age.qcow2' 8M
ln -s 'a dir\with/im age.qcow2' shortcut
options="no_backing cache_kib 128 low_water 8 when_full error full_timeout 5 discard keep hop always commit_ms 50"
# shellcheck disable=SC2086
attach q 'a dir\with/im age.qcow2' $options
line=$(dmsetup table q)
want "not as loaded: $line" [ "$line" = "0 16384 qcow2 1 qcow2 $(quoted "$DIR/a dir\\with/im age.qcow2") 15 $options" ]
dmsetup suspend q
dmsetup table q | dmsetup load q
dmsetup resume q
want "changed by a reload" [ "$line" = "$(dmsetup table q)" ]
detach q
ok "a reloadable line"
echo "0 16384 qcow2 1 qcow2 $DIR/shortcut 2 when_full queue" | dmsetup create q
DEVICES+=(q)
want "$(dmsetup table q)" [ "$(dmsetup table q)" = "0 16384 qcow2 1 qcow2 $(quoted "$DIR/a dir\\with/im age.qcow2")" ]
detach q
ok "a symbolic link is resolved, defaults are not printed"
exec 5<>shortcut
dmsetup create q --table "0 16384 qcow2 1 qcow2 /proc/self/fd/5" 5<&5
want "$(dmsetup table q)" [ "$(dmsetup table q)" = "0 16384 qcow2 1 qcow2 $(quoted "$DIR/a dir\\with/im age.qcow2")" ]
exec 5<&-
detach q
ok "a path through /proc/self/fd"

# The kernel takes byte 0xa0 for a blank, which is a part of many letters.
create over.qcow2 8M
for name in 'voilà' Р.qcow2 'РА Р' 'end ' $'no\xc2\xa0break' '€\ '; do
	create "$name" 8M
	exec 5<>"$name"
	dmsetup create q --table "0 16384 qcow2 1 qcow2 /proc/self/fd/5" 5<&5
	line=$(dmsetup table q)
	want "$line" [ "$line" = "0 16384 qcow2 1 qcow2 $DIR/$(quoted "$name")" ]
	dmsetup suspend q
	dmsetup load q --table "$line"
	dmsetup resume q
	want "changed by a reload: $(dmsetup table q)" [ "$line" = "$(dmsetup table q)" ]
	detach q
	exec 5<&-
	# Another word follows.
	line="0 16384 qcow2 2 qcow2 $DIR/over.qcow2 raw ${line#* 1 qcow2 } 2 hop always"
	qemu-img create -q -u -f qcow2 -b "$DIR/$name" -F raw over.qcow2 8M
	dmsetup create q --table "$line"
	want "not as loaded: $(dmsetup table q)" [ "$line" = "$(dmsetup table q)" ]
	detach q
done
ok "blanks that are none"
for name in $'two\nlines' $'tab\tulator'; do
	create "$name" 8M
	exec 5<>"$name"
	refused "Invalid argument" "control characters" dmsetup create bad --table "0 16384 qcow2 1 qcow2 /proc/self/fd/5" 5<&5
	exec 5<&-
done
ok "control characters"
