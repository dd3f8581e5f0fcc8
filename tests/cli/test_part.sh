#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A file system without nameless files: a new image is called PATH.part until it is complete. What a run that was killed
# has left of that is named, and stays.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

cat >named.c <<END
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

int open64(const char *path, int flags, ...)
{
	va_list list;
	int mode;

	va_start(list, flags);
	mode = va_arg(list, int);
	va_end(list);
	if ((flags & O_TMPFILE) != O_TMPFILE)
		return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	errno = EOPNOTSUPP;
	return -1;
}
END
cc -D_GNU_SOURCE -shared -fPIC -o named.so named.c
export LD_PRELOAD=$PWD/named.so
succeeds "a new image" '^$' create new.qcow2 1M
holds "its name is the only one" [ "$(echo new.*)" = new.qcow2 ]
echo mine >left.qcow2.part
fails 4 "a part that was left" "cannot create: .*exists" create left.qcow2 1M
holds "which one" matches "^qcow2ctl: left.qcow2.part: " "$ERR"
holds "what to do" matches "^hint: a run that was killed may have left it; remove it" "$ERR"
holds "it is not touched" [ "$(<left.qcow2.part)" = mine ]
holds "nothing beside it" [ ! -e left.qcow2 ]
rm left.qcow2.part
succeeds "when it is gone" '^$' create left.qcow2 1M
