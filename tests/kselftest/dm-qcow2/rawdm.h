/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * One device at a time by the ioctls of device-mapper, without a process and
 * without udev: what goes through hundreds of images includes this.
 *
 * All return 0 or an errno. What is wrong with an image is a line "# NAME: ...",
 * and counted.
 */
#ifndef RAWDM_H
#define RAWDM_H

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static struct {
	int control, node;		/* node: -1 while it is not open */
	const char *name;
	char path[64];
	char image[64];			/* the image that it is made of */
	unsigned int problems;
	union {
		struct dm_ioctl dm;
		char bytes[16384];
	} request;
} rawdm = { .control = -1, .node = -1 };

static inline void __attribute__((format(printf, 1, 2))) problem(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	printf("# %s: ", rawdm.image);
	vprintf(format, list);
	printf("\n");
	fflush(stdout);
	va_end(list);
	rawdm.problems++;
}

static inline void __attribute__((noreturn)) give_up(const char *what)
{
	printf("# %s: %s: %s\n", rawdm.image, what, strerror(errno));
	exit(2);
}

static inline int rawdm_ioctl(unsigned long command, unsigned int flags)
{
	struct dm_ioctl *dm = &rawdm.request.dm;

	dm->version[0] = DM_VERSION_MAJOR;
	dm->version[1] = 0;
	dm->version[2] = 0;
	dm->data_size = sizeof(rawdm.request);
	dm->data_start = sizeof(*dm);
	dm->flags = flags;
	snprintf(dm->name, sizeof(dm->name), "%s", rawdm.name);
	return ioctl(rawdm.control, command, dm) ? errno : 0;
}

static inline int rawdm_simple(unsigned long command, unsigned int flags)
{
	memset(&rawdm.request, 0, sizeof(rawdm.request.dm));
	return rawdm_ioctl(command, flags);
}

/* The device @name will be made by rawdm_create(). */
static inline int rawdm_start(const char *name)
{
	rawdm.name = name;
	snprintf(rawdm.path, sizeof(rawdm.path), "/dev/%s-test", name);
	rawdm.control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	return rawdm.control < 0 ? errno : 0;
}

static inline int rawdm_create(void)
{
	return rawdm_simple(DM_DEV_CREATE, 0);
}

static inline int rawdm_load(unsigned long long sectors, const char *table, int writable)
{
	struct dm_target_spec *spec = (void *)(rawdm.request.bytes + sizeof(rawdm.request.dm));

	memset(&rawdm.request, 0, sizeof(rawdm.request));
	rawdm.request.dm.target_count = 1;
	spec->length = sectors;
	spec->next = sizeof(rawdm.request) - sizeof(rawdm.request.dm);
	snprintf(spec->target_type, sizeof(spec->target_type), "qcow2");
	snprintf((char *)(spec + 1), 4096, "%s", table);
	return rawdm_ioctl(DM_TABLE_LOAD, writable ? 0 : DM_READONLY_FLAG);
}

/* What was loaded runs, and is open. */
static inline int rawdm_resume(int writable)
{
	struct dm_ioctl *dm = &rawdm.request.dm;
	int ret = rawdm_simple(DM_DEV_SUSPEND, 0);

	if (ret)
		return ret;
	unlink(rawdm.path);
	if (mknod(rawdm.path, S_IFBLK | 0600, makedev(major(dm->dev), minor(dm->dev))))
		return errno;
	rawdm.node = open(rawdm.path, (writable ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	return rawdm.node < 0 ? errno : 0;
}

/* The status line is at *@text until the next call. */
static inline int rawdm_status(char **text)
{
	int ret = rawdm_simple(DM_TABLE_STATUS, DM_NOFLUSH_FLAG);

	*text = rawdm.request.bytes + rawdm.request.dm.data_start + sizeof(struct dm_target_spec);
	return ret;
}

static inline int rawdm_remove(void)
{
	int i, ret;

	if (rawdm.node >= 0)
		close(rawdm.node);
	rawdm.node = -1;
	for (i = 0; (ret = rawdm_simple(DM_DEV_REMOVE, 0)) == EBUSY && i < 100; i++)
		usleep(50000);
	unlink(rawdm.path);
	return ret;
}

/* What the kernel has said since the last call; @kmsg is /dev/kmsg, not blocking. */
static inline const char *rawdm_said(int kmsg, char *buffer, size_t size)
{
	size_t length = 0;
	ssize_t got;

	while (length + 8193 <= size) {
		got = read(kmsg, buffer + length, 8192);
		if (got < 0 && errno == EPIPE)
			continue;
		if (got <= 0)
			break;
		length += got;
	}
	buffer[length] = 0;
	return buffer;
}

#endif
