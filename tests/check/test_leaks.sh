#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# repair --leaks beside errors: what a wrong count or a wrong entry leads to is not written over.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"

# harm IMAGE COUNT|BEHIND: a leak at the end, and the count of the first data cluster is 0, or its entry
# leads to the first cluster behind the file. Prints where the entry leads.
harm() {
	python3 - "$@" <<-'END'
		import os, struct, sys
		name, how = sys.argv[1:]
		with open(name, "r+b") as file:
		    def word(at):
		        file.seek(at)
		        return struct.unpack(">Q", file.read(8))[0] & 0xFFFFFFFFFFFE00
		    table, block = word(word(40)), word(word(48))
		    end = os.path.getsize(name) // 65536
		    file.truncate((end + 1) * 65536)
		    file.seek(block + 2 * end)
		    file.write(b"\0\1")
		    place = word(table) if how == "COUNT" else (end + 1) * 65536
		    if how == "COUNT":
		        file.seek(block + 2 * (place >> 16))
		        file.write(b"\0\0")
		    else:
		        file.seek(table)
		        file.write(struct.pack(">Q", 1 << 63 | place))
		    print(place)
	END
}

"$Q" create good 1M
qemu-io -f qcow2 -c "write -q -P 7 0 300k" good
for how in COUNT BEHIND; do
	cp good damaged
	place=$(harm damaged $how)
	if [ $how = COUNT ]; then
		fails 7 "$how: refused" "a block of it is broken" repair --leaks ./damaged
	else
		fails 7 "$how: errors are left" "2 errors are left" repair --leaks ./damaged
		call check ./damaged
		holds "$how: no leak is left" grep -q "^leaks: *0$" <<<"$OUT"
	fi
	holds "$how: the guest's cluster is no table" python3 -c 'import struct, sys
data, place = open("damaged", "rb").read(), int(sys.argv[1])
table, = struct.unpack(">Q", data[48:56])
assert place not in (table, *struct.unpack(">8Q", data[table:table + 64])), hex(place)' "$place"
	succeeds "$how: repair" "^repaired" repair ./damaged
	[ $how = BEHIND ] || holds "$how: the same disk" qemu-img compare -q good damaged
	holds "$how: clean" qemu-img check -q damaged
done
