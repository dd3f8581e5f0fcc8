/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * One image file or block device, opened once; everything else works on that
 * descriptor, so what was checked is what is used.
 *
 * Functions returning int print their error and return an exit code, 0 = good.
 */
#ifndef QCOW2CTL_IMAGE_H
#define QCOW2CTL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <linux/types.h>
#include "../../kernel/format.h"
#include "../../kernel/geometry.h"

struct image {
	char *path;		/* as it was given */
	int fd;			/* -1 = not open */
	u32 granule;		/* unit of direct I/O; 0: through the page cache */
	struct stat st;
	bool is_block;
	bool raw;		/* no header is to be read */
	u64 end;		/* bytes of the file or device */
	/* after image_verify() */
	struct qcow2_header header;
	struct qcow2_geometry geo;
	u8 *cluster;		/* cluster 0, or what the file has of it */
	size_t cluster_len;
};

#define IMAGE_CLOSED	{ .fd = -1 }

/* Open @path: a regular file or a block device, anything else is refused. */
int image_open(struct image *image, const char *path);
/* The same for a descriptor that is already open; the image owns it then, also after an error. */
int image_adopt(struct image *image, int fd, const char *path);
void image_close(struct image *image);
/*
 * Open the file once more, for writing and past the page cache where the file
 * system can do that. @exclusive: nobody else may use the block device.
 */
int image_open_direct(struct image *image, bool exclusive);

/* Read and verify the header and its extensions. */
int image_verify(struct image *image);
/*
 * The same, but an image passes whose refcount table is missing, whose tables
 * share clusters or which promises too many snapshots.
 */
int image_verify_damaged(struct image *image);
/* Read; what lies beyond the end is zeros. Negative errno. */
int image_read(const struct image *image, u64 hoff, void *buf, size_t len);
/* How many bytes have been read so far, of all images. */
u64 image_bytes_read(void);
/* Write; the file grows if it has to. Negative errno. */
int image_write(struct image *image, u64 hoff, const void *buf, size_t len);

/* One block device by all its nodes, or one file? */
bool image_same_file(const struct stat *a, const struct stat *b);
bool image_is_same(const struct image *image, const struct stat *st);
/* A string of the header cluster for the caller to free; NULL if it is empty. */
char *image_string(const struct image *image, const struct qcow2_string *string);
/* The absolute path of the open file for the caller to free. */
char *image_real_path(const struct image *image);
/* @name as the image at @image->path means it: relative names start in its folder. */
char *image_resolve(const struct image *image, const char *name);
/* Is @name something else than a path to QEMU ("json:...", "nbd://...")? */
bool image_name_is_url(const char *name);
/* The image's part of a dm uuid: inode, or device number. For the caller to free. */
char *image_id(const struct image *image);

#endif
