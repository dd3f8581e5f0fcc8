// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * An overlay that was made for a device and did not get on top of it goes again.
 *
 * It gets its name when the guardian is there, who takes it away if the other dies
 * too early; recover does it if the guardian died, too. Nothing goes that anybody
 * could want: only the very file that was made, if it is not a layer of a device,
 * nobody has it open as an image, and nothing was written to it.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "lock.h"
#include "mem.h"
#include "text.h"

char *guard_overlay(const struct newfile *file)
{
	const char *slash = strrchr(file->path, '/');
	MEM_FREE char *folder = slash ? mem_strndup(file->path, slash - file->path + 1) :
					mem_strdup(".");
	char real[PATH_MAX];
	struct stat st;

	if (file->is_block || fstat(file->fd, &st) || !realpath(folder, real))
		return NULL;
	return mem_printf("%llu %s/%s", (unsigned long long)st.st_ino, real,
			  slash ? slash + 1 : file->path);
}

/* A layer of any device, whichever state that is in. When in doubt it is one. */
static bool is_layer(const struct image *image)
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

/* The inode is the one that was made. */
static bool is_useless(const char *path, unsigned long long inode)
{
	struct image image;
	struct stat st;
	bool useless;

	if (lstat(path, &st) || !S_ISREG(st.st_mode) || st.st_ino != inode)
		return false;
	useless = !image_open(&image, path) && image.st.st_ino == inode &&
		  !image_verify(&image) && !lock_probe(image.fd, LOCK_WRITER) &&
		  !is_layer(&image) && is_empty(&image);
	image_close(&image);
	return useless;
}

void guard_drop_overlay(const char *name, const struct guard_line *line)
{
	MEM_FREE char *shown = NULL;
	unsigned long long inode;
	int start = 0;

	if (!line->overlay || sscanf(line->overlay, "%llu %n", &inode, &start) != 1 || !start ||
	    !is_useless(line->overlay + start, inode))
		return;
	shown = text_printable(line->overlay + start);
	if (!unlink(line->overlay + start))
		err_note("%s: removed %s, which had not become a layer of it", name, shown);
}
