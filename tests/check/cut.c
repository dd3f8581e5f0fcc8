// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * To be loaded before a program: it dies at its CUT-th change of a file, of which only the first
 * CUT_BYTES are made (of a write). Its exit code is 99, or 98 before what is no write. With CUT=0 it
 * lives, and says on exit how many there were.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static int nr_changes;

static int limit_of(const char *name)
{
	const char *text = getenv(name);

	return text ? atoi(text) : 0;
}

/* Is this the change that is cut off? */
static int is_last(void)
{
	return ++nr_changes == limit_of("CUT");
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
	ssize_t (*real)(int fd, const void *data, size_t len, off64_t offset) =
		dlsym(RTLD_NEXT, "pwrite64");
	size_t part = limit_of("CUT_BYTES");

	if (is_last()) {
		/* In units of direct I/O from the aligned buffer, or whatever the file takes. */
		if (part && real(fd, data, part < len ? part : len, offset) < 0)
			_exit(100);
		_exit(99);
	}
	return real(fd, data, len, offset);
}

int ftruncate64(int fd, off64_t len)
{
	int (*real)(int fd, off64_t len) = dlsym(RTLD_NEXT, "ftruncate64");

	if (is_last())
		_exit(98);
	return real(fd, len);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
	int (*real)(int fd, int mode, off64_t offset, off64_t len) = dlsym(RTLD_NEXT, "fallocate64");

	if (is_last())
		_exit(98);
	return real(fd, mode, offset, len);
}

__attribute__((__destructor__)) static void report(void)
{
	if (getenv("CUT") && !limit_of("CUT"))
		fprintf(stderr, "changes: %d\n", nr_changes);
}
