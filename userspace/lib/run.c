// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Lock files. The file goes away with its last holder, so whoever gets the
 * lock looks whether it is still the file of that name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "err.h"
#include "mem.h"
#include "run.h"

#define FOLDER	RUN_FOLDER

static bool is_current(int fd, const char *path)
{
	struct stat mine, named;

	return !fstat(fd, &mine) && !stat(path, &named) && mine.st_dev == named.st_dev &&
	       mine.st_ino == named.st_ino;
}

/* 0, EAGAIN if somebody else has it, or another errno. */
static int try_lock(const char *path, int *fd)
{
	int error;

	for (;;) {
		*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (*fd < 0)
			return errno;
		if (flock(*fd, LOCK_EX | LOCK_NB)) {
			error = errno;
			close(*fd);
			return error;
		}
		if (is_current(*fd, path))
			return 0;
		close(*fd);
	}
}

int run_lock(const char *name, unsigned int seconds, int *fd)
{
	MEM_FREE char *path = mem_printf(FOLDER "/%s.lock", name);
	const struct timespec pause = { .tv_nsec = 50000000 };
	time_t end = time(NULL) + seconds;
	int error;

	if (mkdir(FOLDER, 0700) && errno != EEXIST)
		return err_errno(errno, FOLDER);
	while ((error = try_lock(path, fd)) == EAGAIN && time(NULL) < end)
		nanosleep(&pause, NULL);
	if (error == EAGAIN)
		return err_fail(ERR_BUSY, name, "another qcow2ctl is at work on it");
	return error ? err_errno(error, path) : 0;
}

bool run_is_locked(const char *name)
{
	MEM_FREE char *path = mem_printf(FOLDER "/%s.lock", name);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return locked;
}

void run_unlock(const char *name, int fd)
{
	MEM_FREE char *path = mem_printf(FOLDER "/%s.lock", name);

	unlink(path);
	close(fd);
}

int run_lost_mount(const char *name)
{
	MEM_FREE char *path = mem_printf(FOLDER "/%s.mount", name);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) || !is_current(fd, path))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void run_forget_mount(const char *name, int fd)
{
	MEM_FREE char *path = mem_printf(FOLDER "/%s.mount", name);

	if (fd < 0)
		return;
	unlink(path);
	close(fd);
}
