// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Preloaded into qcow2ctl: everything that changes a file is noted, in order,
 * in the file that QCOW2_RECORD names. A record is a head and, of a write, the
 * bytes; that a new file gets its name is one, too. After change number
 * QCOW2_AFTER (0 is the first) the process gets the signal QCOW2_SIGNAL; with
 * QCOW2_READS, after read number QCOW2_AFTER.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct head {
	uint64_t op;		/* 'w' write, 's' sync, 't' truncate, 'p' punch, 'l' link */
	uint64_t inode;
	uint64_t offset;
	uint64_t length;
};

static int record_fd = -1;
static long left = -1;

static void __attribute__((constructor)) start(void)
{
	const char *path = getenv("QCOW2_RECORD");

	if (path)
		record_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (getenv("QCOW2_AFTER"))
		left = atol(getenv("QCOW2_AFTER"));
}

static void count(char op)
{
	if (op != 's' && (op == 'r') == !!getenv("QCOW2_READS") && !left--)
		raise(atoi(getenv("QCOW2_SIGNAL")));
}

static void note(char op, int fd, uint64_t offset, uint64_t length, const void *data)
{
	struct stat st;
	struct head head = { op, 0, offset, length };

	count(op);
	if (record_fd < 0 || fstat(fd, &st))
		return;
	head.inode = st.st_ino;
	if (write(record_fd, &head, sizeof(head)) != sizeof(head) ||
	    (data && write(record_fd, data, length) != (ssize_t)length))
		abort();
}

ssize_t pread64(int fd, void *data, size_t length, off64_t offset)
{
	ssize_t (*real)(int fd, void *data, size_t length, off64_t offset) =
		dlsym(RTLD_NEXT, "pread64");
	ssize_t done = real(fd, data, length, offset);

	if (getenv("QCOW2_READS"))
		count('r');
	return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
	ssize_t (*real)(int fd, const void *data, size_t length, off64_t offset) = dlsym(RTLD_NEXT, "pwrite64");
	ssize_t done = real(fd, data, length, offset);

	if (done > 0)
		note('w', fd, offset, done, data);
	return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
	return pwrite64(fd, data, length, offset);
}

int ftruncate64(int fd, off64_t length)
{
	int (*real)(int fd, off64_t length) = dlsym(RTLD_NEXT, "ftruncate64");
	int ret = real(fd, length);

	if (!ret)
		note('t', fd, 0, length, NULL);
	return ret;
}

int ftruncate(int fd, off_t length)
{
	return ftruncate64(fd, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	int (*real)(int fd, int mode, off64_t offset, off64_t length) =
		dlsym(RTLD_NEXT, "fallocate64");
	int ret = real(fd, mode, offset, length);

	if (!ret && mode & FALLOC_FL_PUNCH_HOLE)
		note('p', fd, offset, length, NULL);
	return ret;
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	return fallocate64(fd, mode, offset, length);
}

/* What has a name now is opened once more: by it the inode is found. */
static void note_name(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	note('l', fd, 0, 0, NULL);
	close(fd);
}

int linkat(int from, const char *old, int to, const char *path, int flags)
{
	int (*real)(int from, const char *old, int to, const char *path, int flags) =
		dlsym(RTLD_NEXT, "linkat");
	int ret = real(from, old, to, path, flags);

	if (!ret)
		note_name(path);
	return ret;
}

int renameat2(int from, const char *old, int to, const char *path, unsigned int flags)
{
	int (*real)(int from, const char *old, int to, const char *path, unsigned int flags) =
		dlsym(RTLD_NEXT, "renameat2");
	int ret = real(from, old, to, path, flags);

	if (!ret)
		note_name(path);
	return ret;
}

int fdatasync(int fd)
{
	int (*real)(int fd) = dlsym(RTLD_NEXT, "fdatasync");
	int ret = real(fd);

	if (!ret)
		note('s', fd, 0, 0, NULL);
	return ret;
}

int fsync(int fd)
{
	int (*real)(int fd) = dlsym(RTLD_NEXT, "fsync");
	int ret = real(fd);

	if (!ret)
		note('s', fd, 0, 0, NULL);
	return ret;
}
