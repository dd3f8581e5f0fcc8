// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * An overlay that was made for a device and did not get on top of it goes again.
 *
 * It gets its name when the guardian is there, who takes it away if the other dies
 * too early; recover does it if the guardian died, too, or the machine. Nothing goes
 * that anybody could want: only the very file that was made, an image without any
 * content over the image of the device, if it is not a layer of a device and nobody has
 * it open as an image. A block device may have another number after a reboot.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "lock.h"
#include "mem.h"
#include "text.h"

#define TRIES		100
#define PAUSE_NS	20000000

char *guard_overlay(const struct newfile *file)
{
	const char *slash = strrchr(file->path, '/');
	MEM_FREE char *folder = slash ? mem_strndup(file->path, slash - file->path + 1) :
					mem_strdup(".");
	char real[PATH_MAX];
	struct stat st;

	if (file->is_block) {
		MEM_FREE char *lasting = device_lasting_path(file->path);

		if (*lasting == '/')
			return mem_printf("0 %s", lasting);
	}
	if (fstat(file->fd, &st) || !realpath(folder, real))
		return NULL;
	return mem_printf("%llu %s/%s", file->is_block ? 0 : (unsigned long long)st.st_ino, real,
			  slash ? slash + 1 : file->path);
}

bool guard_is_layer(const struct image *image)
{
	struct device *devices;
	bool found = false;
	size_t count, i;

	if (device_list(&devices, &count))
		return true;
	for (i = 0; i < count; i++)
		found |= device_layer_of(&devices[i], image) >= 0;
	device_release_list(devices, count);
	return found;
}

/* Nothing but what create has made. */
static bool is_empty(const struct image *image)
{
	size_t len = image->header.l1_size * sizeof(u64), i;
	MEM_FREE char *l1 = mem_zalloc(len + 1);

	if (image->header.nb_snapshots || image_read(image, image->header.l1_table_offset, l1, len))
		return false;
	for (i = 0; i < len && !l1[i]; i++)
		;
	return i == len;
}

/* Is it over the image that the device had? */
static bool is_over(const struct image *image, const struct guard_line *line)
{
	MEM_FREE char *backing = image_string(image, &image->header.backing_file);
	struct stat named, here;
	struct table table;
	bool over;

	if (!backing || !table_parse(line->params, &table))
		return false;
	over = !strcmp(backing, table.paths[0]) ||
	       (!stat(backing, &named) && !stat(table.paths[0], &here) && image_same_file(&named, &here));
	table_release(&table);
	return over;
}

/* The inode is the one that was made. */
static bool is_useless_file(const char *path, unsigned long long inode,
			    const struct guard_line *line)
{
	struct image image;
	struct stat st;
	bool useless;

	if (lstat(path, &st) || !S_ISREG(st.st_mode) || st.st_ino != inode)
		return false;
	useless = !image_open(&image, path) && image.st.st_ino == inode &&
		  !image_verify(&image) && is_over(&image, line) &&
		  !lock_probe(image.fd, LOCK_WRITER) && !guard_is_layer(&image) && is_empty(&image);
	image_close(&image);
	return useless;
}

/* Is there an image at all? Who asks a device that was never written to hears no complaint. */
static bool has_magic(int fd)
{
	__be32 magic;

	return pread(fd, &magic, sizeof(magic), 0) == sizeof(magic) && be32toh(magic) == QCOW2_MAGIC;
}

/* 0, or -EBUSY: somebody has it. */
static int wipe_unused(const struct image *image, const char *path)
{
	int fd, ret;

	if (lock_probe(image->fd, LOCK_WRITER))
		return -EBUSY;
	fd = open(path, O_RDWR | O_EXCL | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = newfile_wipe(fd);
	close(fd);
	return ret;
}

/* The dead tool may still be closing it, which takes as long as its last write. */
static bool wipe_device(const char *path, const struct guard_line *line)
{
	struct timespec pause = { .tv_nsec = PAUSE_NS };
	struct image image = IMAGE_CLOSED;
	int ret = -ENODEV, tries;
	struct stat st;

	if (!stat(path, &st) && S_ISBLK(st.st_mode) && !image_open(&image, path) &&
	    image.is_block && has_magic(image.fd) &&
	    !image_verify(&image) && is_over(&image, line) && is_empty(&image)) {
		for (tries = 0; tries < TRIES && !guard_is_layer(&image); tries++) {
			ret = wipe_unused(&image, path);
			if (ret != -EBUSY)
				break;
			nanosleep(&pause, NULL);
		}
	}
	image_close(&image);
	return !ret;
}

void guard_drop_overlay(const char *name, const struct guard_line *line)
{
	MEM_FREE char *shown = NULL;
	unsigned long long inode;
	const char *path;
	int start = 0;

	if (!line->overlay || sscanf(line->overlay, "%llu %n", &inode, &start) != 1 || !start)
		return;
	path = line->overlay + start;
	shown = text_printable(path);
	if (!inode && wipe_device(path, line))
		err_note("%s: wiped %s, which had not become a layer of it", name, shown);
	else if (inode && is_useless_file(path, inode, line) && !unlink(path))
		err_note("%s: removed %s, which had not become a layer of it", name, shown);
}
