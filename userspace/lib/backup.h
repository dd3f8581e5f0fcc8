/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Backups of a device in use: a point in time of it is frozen, copied, and let go.
 *
 *	point	an internal snapshot and a view of it, or a layer that keeps what is overwritten
 *	ranges	what is to be copied: all that is allocated, or what has changed since a checkpoint
 *	copy	to a new image, to stdout, or by whoever asks an NBD server
 *
 * A checkpoint is a moment since which changes are known: the number of an era (the layer era counts
 * them), or a snapshot. It is never later than the point that it goes with, and changes are looked up
 * after that: what is written in between is copied once too often, and never missed.
 *
 * Functions print their error and return an exit code.
 */
#ifndef QCOW2CTL_BACKUP_H
#define QCOW2CTL_BACKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

struct backup_request {
	const char *name;
	const char *to;			/* path, "-" for stdout; or NULL */
	const char *nbd;		/* path of a socket, or NULL */
	const char *since;		/* checkpoint, or NULL: everything */
	bool checkpoint;		/* begin a new one and print it */
	const char *via;		/* "view", "snapshot"; NULL: what fits */
	const char *base;		/* path as it is stored, or NULL */
	bool base_raw;
	u64 bwlimit, deadline;		/* bytes a second, seconds; or CLI_UNSET */
	bool nolockfs;
	u64 timeout;			/* of each suspend, seconds, or CLI_UNSET */
	const char *progress;
};

int backup_run(const struct backup_request *request);

/* Begin a new checkpoint; its number. */
int backup_checkpoint(const char *name, u64 *number);

/* A part of the disk; with no data it reads as zeros. */
struct backup_range {
	u64 start, length;
	bool data;
};

struct backup_ranges {
	struct backup_range *list;	/* in the order of the disk */
	size_t count;
	size_t room;			/* of the list, which does not grow then, if not 0 */
	struct backup_range last;	/* of more than that, which are only counted */
};

/* What has changed since a checkpoint; backup_ranges_release() also after an error. */
int backup_changes(const char *name, const char *since, struct backup_ranges *changes);
void backup_ranges_release(struct backup_ranges *ranges);

/* Take away what a backup that was killed has left of its point. */
int backup_recover(const char *name);

#endif
