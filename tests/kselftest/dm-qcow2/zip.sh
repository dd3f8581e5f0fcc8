# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# What the cases about compressed clusters share.

# shellcheck source=tests/kselftest/dm-qcow2/trace.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/trace.sh"

# packable FILE MIB SEED: text that compresses, noise that does not, zeros, in pieces of odd lengths.
packable() {
	python3 - "$@" <<'PY'
import random, sys
size, dice = int(sys.argv[2]) << 20, random.Random(int(sys.argv[3]))
words = [b"%x " % dice.getrandbits(24) for _ in range(500)]
with open(sys.argv[1], "wb") as file:
    while file.tell() < size:
        length = dice.randrange(1, 90000)
        kind = dice.randrange(6)
        if kind == 0:
            data = dice.randbytes(length)
        elif kind == 1:
            data = bytes(length)
        else:
            line = b"".join(dice.choices(words, k=300))
            data = (line * (length // len(line) + 1))[:length]
        file.write(data)
    file.truncate(size)
PY
}

# inflated N SENTENCE: so many clusters since.
inflated() {
	local count said
	said=$(grep qcow2_inflate: "$TRACING/trace" || true)
	trace_forget
	count=$(grep -c . <<<"$said" || true)
	[ "$count" = "$1" ] || fail "$2: $count clusters were inflated, not $1"$'\n'"${said//#/ }"
}

# make KIND TYPE IMAGE MODEL: an image that QEMU would not write, see zip_image.py.
make() { zip_image.py make "$@"; }
# holds MODEL SENTENCE: q shows it.
holds() { zip_image.py read /dev/mapper/q "$1" || fail "$2"; }
