// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Loop devices. That a file is ours is written into the device itself, in the
 * name that it may carry for its maker, so it cannot be lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "loop.h"
#include "mem.h"
#include "module.h"
#include "text.h"

#define OWN	"qcow2ctl: own"
#define CONTROL	"/dev/loop-control"
#define TRIES	20

static int free_number(void)
{
	int fd = open(CONTROL, O_RDWR | O_CLOEXEC), number;

	if (fd < 0) {
		module_load("loop");
		fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	number = ioctl(fd, LOOP_CTL_GET_FREE);
	if (number < 0)
		number = -errno;
	close(fd);
	return number;
}

static int attach_to(int number, int file, bool own, dev_t *device)
{
	MEM_FREE char *path = mem_printf("/dev/loop%d", number);
	struct loop_config config = {
		.fd = file,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
	};
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	int ret;

	if (fd < 0)
		return -errno;
	if (own)
		memcpy(config.info.lo_file_name, OWN, sizeof(OWN));
	if (!fstat(fd, &st) && S_ISBLK(st.st_mode) && !ioctl(fd, LOOP_CONFIGURE, &config)) {
		*device = st.st_rdev;
		return fd;
	}
	ret = -errno;
	close(fd);
	return ret;
}

int loop_attach(int file, bool own, dev_t *device)
{
	int i, number, ret = -EBUSY;

	/* Somebody else may take the free one first. */
	for (i = 0; i < TRIES && ret == -EBUSY; i++) {
		number = free_number();
		ret = number < 0 ? number : attach_to(number, file, own, device);
	}
	return ret;
}

static bool is_own(dev_t device)
{
	MEM_FREE char *link = mem_printf("/dev/block/%u:%u", major(device), minor(device));
	MEM_FREE char *node = mem_printf("/dev/loop%u", minor(device));
	struct loop_info64 info;
	int fd = open(node, O_RDONLY | O_CLOEXEC);
	struct stat st;
	bool own;

	if (fd < 0)
		fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	own = !fstat(fd, &st) && st.st_rdev == device && !ioctl(fd, LOOP_GET_STATUS64, &info) &&
	      !memcmp(info.lo_file_name, OWN, sizeof(OWN));
	close(fd);
	return own;
}

char *loop_file(dev_t device, bool *own)
{
	MEM_FREE char *path = mem_printf("/sys/dev/block/%u:%u/loop/backing_file", major(device),
					 minor(device));
	char *line = text_first_line(path);

	*own = line && is_own(device);
	return line;
}
