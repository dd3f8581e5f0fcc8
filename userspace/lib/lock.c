// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * QEMU's byte locks as it takes them itself.
 *
 * Permission p is byte 100+p, held by whoever uses it; byte 200+p is held by
 * whoever does not let others use it. All are read locks of open file
 * descriptions, so two holders never collide by locking; they find each other
 * by asking whether a write lock would collide.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include "lock.h"

#define CONSISTENT_READ	0
#define WRITE		1
#define RESIZE		3
#define USES		100
#define FORBIDS		200

/* What a role holds, and what nobody else may hold then. */
static const struct {
	short holds[6];
	short conflicts[6];
} roles[] = {
	[LOCK_READER] = {
		{ USES + CONSISTENT_READ, FORBIDS + WRITE, FORBIDS + RESIZE },
		{ FORBIDS + CONSISTENT_READ, USES + WRITE, USES + RESIZE },
	},
	[LOCK_WRITER] = {
		{ USES + CONSISTENT_READ, USES + WRITE, USES + RESIZE, FORBIDS + WRITE, FORBIDS + RESIZE },
		{ FORBIDS + WRITE, FORBIDS + RESIZE, FORBIDS + CONSISTENT_READ, USES + WRITE, USES + RESIZE },
	},
};

int lock_probe(int fd, enum lock_role role)
{
	const short *byte;

	for (byte = roles[role].conflicts; *byte; byte++) {
		struct flock lock = {
			.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = *byte, .l_len = 1,
		};

		if (fcntl(fd, F_OFD_GETLK, &lock))
			return -errno;
		if (lock.l_type != F_UNLCK)
			return *byte;
	}
	return 0;
}

int lock_is_held(int fd, short byte)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1,
	};

	if (fcntl(fd, F_OFD_GETLK, &lock))
		return -errno;
	return lock.l_type != F_UNLCK;
}

int lock_share(int fd, enum lock_role role)
{
	const short *byte;

	for (byte = roles[role].holds; *byte; byte++) {
		struct flock lock = {
			.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = *byte, .l_len = 1,
		};

		if (fcntl(fd, F_OFD_SETLK, &lock))
			return -errno;
	}
	return 0;
}

int lock_take(int fd, enum lock_role role)
{
	const short *byte;

	for (byte = roles[role].holds; *byte; byte++) {
		struct flock lock = {
			.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = *byte, .l_len = 1,
		};

		if (fcntl(fd, F_OFD_SETLK, &lock))
			return errno == EAGAIN || errno == EACCES ? *byte : -errno;
	}
	return lock_probe(fd, role);
}

int lock_take_edit(int fd, bool graph)
{
	short byte;

	for (byte = LOCK_OWNER; byte <= (graph ? LOCK_GRAPH : LOCK_OWNER); byte++) {
		struct flock lock = {
			.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1,
		};

		if (fcntl(fd, F_OFD_SETLK, &lock))
			return errno == EAGAIN || errno == EACCES ? byte : -errno;
	}
	return 0;
}

void lock_drop(int fd)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	fcntl(fd, F_OFD_SETLK, &lock);
}

int lock_probe_edit(int fd)
{
	/* A reader meets nothing but a writer. */
	struct flock lock = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = LOCK_OWNER, .l_len = 1,
	};

	if (fcntl(fd, F_OFD_GETLK, &lock))
		return -errno;
	return lock.l_type == F_UNLCK ? 0 : LOCK_OWNER;
}
