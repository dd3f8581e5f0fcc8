/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Copy a frozen point, at most so fast and so long as asked for.
 *
 * What was read is remembered by its checksums; what a new image shows afterwards, read with the parser
 * of all other commands from what is on disk, must have the same, and its metadata must pass the check.
 *
 * Functions print their error and return an exit code.
 */
#ifndef QCOW2CTL_BACKUP_COPY_H
#define QCOW2CTL_BACKUP_COPY_H

#include "backup_point.h"
#include "create_filled.h"

struct backup_copy {
	const struct backup_point *point;
	const struct backup_ranges *ranges;	/* whole clusters of the new image */
	u64 begin, end;				/* ns; end 0: no deadline */
	u64 done, total;			/* bytes */
	char *bytes;
	u32 *sums;				/* of each piece, in order */
	size_t nr_sums;
};

/* Now the deadline begins to run. */
void backup_copy_init(struct backup_copy *copy, const struct backup_point *point);
/* What is to be copied; NULL: all of the disk. */
void backup_copy_set(struct backup_copy *copy, const struct backup_ranges *ranges);
void backup_copy_release(struct backup_copy *copy);
/* Is it time to end? Signals, deadline. */
int backup_copy_wait(const struct backup_copy *copy, u64 ns);
int backup_copy_image(struct backup_copy *copy, struct create_filled *filled);
/* After create_filled_seal(). */
int backup_copy_verify(struct backup_copy *copy, const struct create_filled *filled);
int backup_copy_stdout(struct backup_copy *copy);

#endif
