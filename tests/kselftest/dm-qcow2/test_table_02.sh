#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Table lines that make no sense are refused, each with its sentence.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create a.qcow2 8M
bad() {
	local errno=$1 sentence=$2
	shift 2
	refused "$errno" "$sentence" dmsetup create bad --table "0 16384 qcow2 $*"
	dmsetup info bad >/dev/null 2>&1 && fail "a device was left behind"
	ok "$* : $sentence"
}
image="qcow2 $DIR/a.qcow2"
bad "Invalid argument" "number of layers" ""
bad "Invalid argument" "number of layers" 0
bad "Invalid argument" "fewer layers" 1 qcow2
bad "Invalid argument" "fewer layers" 2 "$image"
bad "Invalid argument" "format is qcow2 or raw" 1 "qcow3 $DIR/a.qcow2"
bad "Invalid argument" "top layer is qcow2" 1 "raw $DIR/a.qcow2"
bad "Invalid argument" "unknown option" 1 "$image 1 fast"
bad "Invalid argument" "given twice" 1 "$image 2 no_backing no_backing"
bad "Invalid argument" "without a value" 1 "$image 1 cache_kib"
bad "Invalid argument" "does not take" 1 "$image 2 cache_kib 0"
bad "Invalid argument" "does not take" 1 "$image 2 when_full maybe"
bad "Invalid argument" "does not take" 1 "$image 2 bitmaps keep"
bad "Invalid argument" "more words" 1 "$image 1 no_backing hop auto"
bad "No such file" "image does not exist" 1 "qcow2 $DIR/missing"
bad "Invalid argument" "names no backing file" 2 "$image raw $DIR/a.qcow2"
printf '0 8192 qcow2 1 %s\n8192 8192 zero\n' "$image" >two
dmsetup create bad two 2>/dev/null && fail "a table of two targets was taken"
want "the reason" grep -q "qcow2 must appear alone" <(dmesg)
ok "another target in the same table"
SECTORS=16385
refused "Invalid argument" "longer than the image" dmsetup create bad --table "0 16385 qcow2 1 $image"
ok "a table longer than the image"
