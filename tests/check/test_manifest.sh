#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The malformed images of the kernel's test: the tool refuses them with the same words, and its check finds the damage.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"

declare -A codes=([EINVAL]=1 [EUCLEAN]=7 [EFBIG]=7 [EOPNOTSUPP]=9 [ENOKEY]=4 [EPERM]=4)
hostile=$TREE/tests/kselftest/dm-qcow2/hostile.py
"$hostile" . || notok "images are made" "failed"
while IFS=$'\t' read -r name errno sentence damaged; do
	case $sentence in
	-)
		call check "./$name"
		if [ "$damaged" = damaged ] && [ "$RC" != 2 ]; then
			notok "$name: check" "finds nothing"
		elif [[ ! $RC =~ ^([0-3]|63)$ ]]; then
			notok "$name: check" "no code of a check"
		else
			ok "$name: check: $RC"
		fi ;;
	*"beyond the end of the image")
		call check "./$name"
		if [[ $RC =~ ^[12]$ ]]; then
			ok "$name: check: $RC"
		else
			notok "$name: check" "expected 1 or 2"
		fi ;;
	image* | encrypted*)	# the header is right, only this use is not
		call attach "$name" qcow2-test
		if [ "$RC" = "${codes[$errno]}" ]; then
			ok "$name: attach: $RC"
		else
			notok "$name: attach" "expected ${codes[$errno]}"
		fi ;;
	*)
		call info "./$name"
		if [ "$RC" != "${codes[$errno]}" ]; then
			notok "$name: info" "expected ${codes[$errno]}"
		elif [[ $ERR != *"$sentence"* && ! ($sentence == incompatible_features* && $ERR == *"unknown incompatible feature bit"*) ]]; then
			notok "$name: info" "expected $sentence"
		else
			ok "$name: info: $RC"
		fi ;;
	esac
done < <("$hostile" --list)
