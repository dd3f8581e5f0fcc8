#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The commonest mistakes, typed as they are made: exit code, cause, and the hint that helps. Those that need a device are
# in the kselftest tool_02: the module is missing, the name is taken, the device is in use.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
alone

# mistake CODE NAME CAUSE HINT WORD...
mistake() {
	local hint=$4
	fails "$1" "$2" "$3" "${@:5}"
	hints "$2: what helps" "$hint"
}

"$Q" create disk.qcow2 16M
"$Q" create big.qcow2 32M
"$Q" create --backing disk.qcow2,format=qcow2 over.qcow2
truncate -s 1M raw.img

# 1. Without a name for the device.
mistake 2 "no NAME" "missing argument, usage: qcow2ctl attach IMAGE NAME" "qcow2ctl help attach" attach disk.qcow2
# 2. The name before the image, as mount and dmsetup have it.
mistake 3 "NAME and IMAGE swapped" "disk: cannot attach: No such file" "qcow2ctl attach disk.qcow2 disk" attach disk disk.qcow2
mistake 3 "swapped, with a path" "g1: cannot attach" "attach ./disk.qcow2 g1" attach -r --partscan g1 ./disk.qcow2
fails 3 "not swapped: neither exists" "g1: cannot attach: No such file" attach g1 g2
# 3. An overlay whose base is not given.
mistake 4 "a backing file that is not given" "names a backing file \"disk.qcow2\"" \
	"add --backing disk.qcow2,format=qcow2 if you trust the image" attach over.qcow2 o
# 4. A raw image.
mistake 1 "a raw image" "raw.img: cannot attach: not a qcow2 image" "losetup.*format=raw" attach raw.img r
mistake 1 "a raw layer called qcow2" "not a qcow2 image" "format=raw" attach --backing raw.img,format=qcow2 over.qcow2 o
# 5. An image that was not closed cleanly.
python3 -c 'import struct; f = open("big.qcow2", "r+b"); f.seek(72); f.write(struct.pack(">Q", 1))'
mistake 7 "a dirty image" "dirty .it was not closed cleanly" "qcow2ctl repair big.qcow2" attach big.qcow2 b
# 6. A file where the name of a device is expected.
call snapshot list disk.qcow2
# Exit code 3, but for a kernel without device mapper, which cannot know.
holds "a file for a name" [ "$RC" = 3 -o "$RC" = 1 ]
hints "a file for a name: what helps" "for the file of that name write ./disk.qcow2"
# 7. An image that a virtual machine has.
python3 - disk.qcow2 <<'PY' &
import fcntl, struct, sys, time
with open(sys.argv[1], "r+b") as file:
    fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 100, 4, 0))
    open("held", "w").close()
    time.sleep(60)
PY
holder=$!
until [ -e held ]; do sleep 0.05; done
mistake 6 "an image in use elsewhere" "image is locked by another process .byte [0-9]*.: python3 .pid $holder.$" \
	"end the virtual machine" attach disk.qcow2 d
mistake 6 "an edit of it" "image is locked by another process" "end the virtual machine" snapshot create ./disk.qcow2 now
succeeds "info of it needs no lock" "virtual size" info ./disk.qcow2
kill $holder
wait $holder 2>/dev/null
# 8. A disk that would become smaller.
mistake 4 "a smaller disk" "" "add --shrink" resize ./disk.qcow2 8M
# 9. A file that exists.
mistake 4 "create over a file" "disk.qcow2: cannot .*it exists already" "choose another path" create disk.qcow2 1G
# 10. qemu-img's habits.
mistake 2 "-f qcow2" "unknown option '-f'" "qcow2ctl help attach" attach -f qcow2 disk.qcow2 d
mistake 2 "a size of 10GB" "'10GB' is not a size .bytes, or a number with K, M, G or T." "qcow2ctl help create" create new.qcow2 10GB
mistake 2 "a backing file without its format" "is not PATH,format" "qcow2ctl help create" create --backing disk.qcow2 new.qcow2
mistake 2 "a word that is no command" "'atach' is not a command" "qcow2ctl help" atach disk.qcow2 d
holds "none of these made a file" absent new.qcow2
