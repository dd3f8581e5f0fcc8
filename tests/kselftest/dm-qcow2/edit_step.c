// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Preloaded into qcow2ctl: the steps of an edit, counted, and something that
 * happens at one of them. A step is what changes a file, a lock or a device;
 * what only looks is none.
 *
 *	EDIT_STEPS=FILE		the name of each step becomes a line there
 *	EDIT_AT=N		at step N, the first is 0, this happens:
 *	EDIT_AT=NAME[:N]	or at the first (Nth) step of that name
 *	EDIT_DO=kill		after the step the process is killed
 *	EDIT_DO=both		the same, and first its guardian: the last process that it has forked
 *	EDIT_DO=SIGNAL		(a number) after the step it gets the signal
 *	EDIT_DO=-ERRNO		the step is not done, and fails so
 *	EDIT_DO=/PATH		after the step it reads from this device, past the page cache
 *
 * Only the process itself is counted, not the guardian that it forks nor a program that it runs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int log_fd = -1;
static long steps, at = -1, named;
static const char *what = "";
static char where[32];
static pid_t self, child;

static void __attribute__((constructor)) start(void)
{
	const char *path = getenv("EDIT_STEPS");
	char *colon;

	self = getpid();
	unsetenv("LD_PRELOAD");
	if (path)
		log_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (getenv("EDIT_AT"))
		snprintf(where, sizeof(where), "%s", getenv("EDIT_AT"));
	at = *where >= '0' && *where <= '9' ? atol(where) : -1;
	colon = strchr(where, ':');
	named = colon ? atol(colon + 1) : 1;
	if (colon)
		*colon = '\0';
	if (getenv("EDIT_DO"))
		what = getenv("EDIT_DO");
}

/* Before step @name: is it the one? */
static void meet(const char *name)
{
	if (getpid() == self && at < 0 && *where && !strcmp(name, where) && !--named)
		at = steps;
}

/* Shall it fail? */
static int fails(const char *name)
{
	meet(name);
	if (getpid() != self || steps != at || *what != '-')
		return 0;
	steps++;
	errno = atoi(what + 1);
	return 1;
}

static void read_device(const char *path)
{
	static char block[4096] __attribute__((aligned(4096)));
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (read(fd, block, sizeof(block)) != sizeof(block))
		abort();
	close(fd);
}

/* After it; errno stays. */
static void done(const char *name)
{
	int error = errno;

	if (getpid() != self)
		return;
	if (log_fd >= 0 && dprintf(log_fd, "%s\n", name) < 0)
		abort();
	if (steps++ == at) {
		if (!strcmp(what, "both") && child > 0)
			kill(child, SIGKILL);
		if (!strcmp(what, "both") || !strcmp(what, "kill"))
			kill(self, SIGKILL);
		else if (*what == '/')
			read_device(what);
		else if (atoi(what) > 0)
			raise(atoi(what));
	}
	errno = error;
}

/* The function behind ours. */
#define NEXT(function) ((__typeof__(function) *)dlsym(RTLD_NEXT, #function))

/* Do a step and count it; its result. */
#define STEP(name, call) ({		\
	__typeof__(call) result = -1;	\
					\
	if (!fails(name)) {		\
		result = (call);	\
		done(name);		\
	}				\
	result;				\
})

/* The name of a step, or NULL if it is none. */
static const char *name_of(unsigned long request, const void *argument)
{
	const struct dm_ioctl *dm = argument;

	switch (request) {
	case DM_DEV_CREATE:
		return "create";
	case DM_DEV_REMOVE:
		return "remove";
	case DM_DEV_RENAME:
		return "name";
	case DM_TARGET_MSG:
		return "message";
	case LOOP_CONFIGURE:
		return "loop";
	case DM_TABLE_LOAD:
		return "load";
	case DM_TABLE_CLEAR:
		return "clear";
	case DM_DEV_SUSPEND:
		return dm->flags & DM_SUSPEND_FLAG ? "suspend" : "resume";
	case BLKDISCARD:
		return "discard";
	case BLKZEROOUT:
		return "zero";
	default:
		return NULL;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	const char *name;
	void *argument;
	va_list list;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	name = name_of(request, argument);
	if (!name)
		return NEXT(ioctl)(fd, request, argument);
	return STEP(name, NEXT(ioctl)(fd, request, argument));
}

int fcntl64(int fd, int command, ...)
{
	void *argument;
	va_list list;

	va_start(list, command);
	argument = va_arg(list, void *);
	va_end(list);
	if (command != F_OFD_SETLK)
		return NEXT(fcntl64)(fd, command, argument);
	return STEP("lock", NEXT(fcntl64)(fd, command, argument));
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
	return STEP(offset ? "write" : "header", NEXT(pwrite64)(fd, data, length, offset));
}

int fdatasync(int fd)
{
	return STEP("barrier", NEXT(fdatasync)(fd));
}

int fsync(int fd)
{
	return STEP("sync", NEXT(fsync)(fd));
}

int ftruncate64(int fd, off64_t length)
{
	return STEP("truncate", NEXT(ftruncate64)(fd, length));
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	return STEP("discard", NEXT(fallocate64)(fd, mode, offset, length));
}

int rename(const char *from, const char *to)
{
	return STEP("rename", NEXT(rename)(from, to));
}

int linkat(int from, const char *path, int to, const char *name, int flags)
{
	return STEP("link", NEXT(linkat)(from, path, to, name, flags));
}

int unlink(const char *path)
{
	return STEP("unlink", NEXT(unlink)(path));
}

int mlockall(int flags)
{
	return STEP("mlockall", NEXT(mlockall)(flags));
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
	ssize_t sent;

	meet("send");
	sent = NEXT(send)(fd, data, length, flags);
	/* Words to the guardian do not get lost. */
	done("send");
	return sent;
}

pid_t fork(void)
{
	pid_t pid;

	if (fails("fork"))
		return -1;
	pid = NEXT(fork)();
	if (pid > 0)
		child = pid;
	done("fork");
	return pid;
}
