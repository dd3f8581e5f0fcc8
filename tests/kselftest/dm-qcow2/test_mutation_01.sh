#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Mutants of valid images are attached, read, written and detached: the bytes that QEMU reads, or both have an
# error. Made before the machine boots: tests/interop/mutants.py build/mutation 300.
# series=debug
# timeout=240

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

MUTATION=$TREE/build/mutation
[ -e "$MUTATION/plan" ] || skip "there are no mutants in build/mutation"
scratch ext4
cp --sparse=always "$MUTATION"/* .
say "copied after $SECONDS s"
out=$(image_loop "$DIR" "$DIR") || fail "$out"
say "$out"
count=$(grep -c '^mutant ' plan)
[ "$count" -ge 300 ] || fail "there are only $count mutants"
ok "$count mutants after $SECONDS s"
