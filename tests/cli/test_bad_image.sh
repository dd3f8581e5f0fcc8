#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What is no image, and every kind of damage: the right code and sentence, and the file as it was.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
alone

"$Q" create good.qcow2 1M
mkdir folder
mkfifo fifo
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
ln -s loop loop

# refuse_all CODE NAME REGEX: all commands that read an image, attached or not.
refuse_all() {
	local code=$1 file=$2 regex=$3
	fails "$code" "attach $file" "^qcow2ctl: $file: cannot attach: .*$regex" attach "$file" qcow2-test
	fails "$code" "info $file" "^qcow2ctl: ./$file: cannot show information: .*$regex" info "./$file"
	fails "$code" "clone $file" "cannot clone: .*$regex" clone "$file" over.qcow2 qcow2-test
	fails "$code" "create over $file" "cannot create: .*$regex" create --backing "$file,format=qcow2" over.qcow2
	[ ! -e over.qcow2 ] || notok "$file: an overlay was left"
}

refuse_all 3 missing "No such file"
refuse_all 3 folder/missing "No such file"
refuse_all 1 folder "a directory"
refuse_all 1 fifo "a FIFO"
refuse_all 1 socket "a socket"
refuse_all 1 loop "symbolic links"
fails 1 "info of a character device" "a character device" info /dev/null
fails 1 "list of a directory" "a directory" list folder
fails 3 "list of a missing file" "No such file" list missing

evil make broken
evil list broken | cut -f 1 | xargs md5sum -- >"$DIR/.sums"
while IFS=$'\t' read -r name code regex; do
	refuse_all "$code" "$name" "$regex"
done < <(evil list broken)
holds "all are as they were" md5sum --quiet -c "$DIR/.sums"

evil make lists
while IFS=$'\t' read -r name code regex; do
	fails "$code" "info $name" "$regex" info "./$name"
done < <(evil list lists)

# A file that its owner may not read.
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$DIR"
	cp "${WITHOUT_RUN:-$Q}" tool
	chmod 600 good.qcow2
	printf '#!/bin/bash\nexec setpriv --reuid=65534 --regid=65534 --clear-groups %s "$@"\n' "$DIR/tool" >nobody
	chmod 755 nobody
	own=$Q Q=$DIR/nobody
	fails 4 "attach of a file without permission" "Permission denied" attach good.qcow2 qcow2-test
	fails 4 "info of a file without permission" "Permission denied" info ./good.qcow2
	fails 4 "create in a folder without permission" "Permission denied" create new.qcow2 1M
	Q=$own
	chmod 444 good.qcow2
	succeeds "info of a read-only file" "virtual size" info ./good.qcow2
fi
