#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Compressed clusters that are valid, though QEMU would not write them: streams, frames, places.
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/zip.sh
. "$(dirname "$0")/zip.sh"

scratch xfs
for type in zlib zstd; do
	make good $type good model
	attach_ro q good
	holds model "$type: valid clusters"
	is q ioerrs 0
	detach q
	attach q good
	exercise q model 8 30
	detach q
	clean good
	same good model
	ok "$type: valid clusters"

	export ZIP_BITS=21
	make far $type far model
	truncate -s 24M model
	attach q far
	want "$type: far away" cmp model /dev/mapper/q --bytes=24M
	dd if=/dev/urandom of=noise bs=4k count=1 status=none
	dd if=noise of=/dev/mapper/q bs=4k seek=3 oflag=direct status=none
	dd if=noise of=/dev/mapper/q bs=4k seek=600 oflag=direct status=none
	dd if=noise of=model bs=4k seek=3 conv=notrunc status=none
	dd if=noise of=model bs=4k seek=600 conv=notrunc status=none
	detach q
	attach_ro q far
	want "$type: far away, written" cmp model /dev/mapper/q --bytes=24M
	detach q
	clean far
	unset ZIP_BITS
	rm far
	ok "$type: beyond 4 GiB and 16 TiB"
done
