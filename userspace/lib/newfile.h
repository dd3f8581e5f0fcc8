/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A file that exists either complete or not at all: it has no name until it is
 * kept. Or a block device that nothing lives on.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_NEWFILE_H
#define QCOW2CTL_NEWFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <linux/types.h>

struct newfile {
	const char *path;
	int fd;			/* -1 = not open */
	bool is_block;
	char *part;		/* the file system could not do without a name: until it is kept */
	bool is_kept;
	u64 end;		/* bytes of a block device */
	void *head;		/* first bytes of a block device, written when it is kept; or NULL */
	size_t head_len;
};

#define NEWFILE_CLOSED	{ .fd = -1 }

/* Refuse @path if anything is there, whatever it is. */
int newfile_check_free(const char *path);
/*
 * Start a file at @path, where nothing may be, or open the block device there.
 * @adopt: what a device holds is welcome; else a signature on it is refused.
 */
int newfile_open(struct newfile *file, const char *path, bool adopt);
/* Make a new file @len bytes long, all zeros; or zero so much of the device. */
int newfile_clear(struct newfile *file, u64 len);
int newfile_write(struct newfile *file, u64 offset, const void *data, size_t len);
/*
 * Write the first bytes, without which all others mean nothing. A device has its name all the time,
 * so there they are written when it is kept.
 */
int newfile_seal(struct newfile *file, const void *data, size_t len);
int newfile_sync(struct newfile *file);
/* Durable and with its name. */
int newfile_keep(struct newfile *file);
/* Give up the byte locks that a device is held by meanwhile, and its exclusive use. */
int newfile_unlock(struct newfile *file);
/* A block device is no image any more. 0, or negative errno; prints nothing. */
int newfile_wipe(int fd);
/* Close; what was not kept is gone. @discard: also what was kept. */
void newfile_close(struct newfile *file, bool discard);

#endif
