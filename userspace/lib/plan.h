/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * An edit as a list of writes and barriers, and its execution.
 *
 * How an edit survives a crash at every one of its writes. Nothing that the
 * image refers to is ever overwritten, but one sector: every table, refcount
 * block or cluster that changes is written anew to clusters that are free, and
 * the header's first sector, which says where all tables are, is written last.
 *
 *	writes to free clusters			the image is the old one
 *	barrier
 *	one write within the header's sector	old or new, nothing between
 *	barrier
 *	discards, truncation			the image is the new one
 *
 * So a prefix of a plan is the old image or the new one, to the last bit of its
 * flags and counts; not even clusters are leaked.
 *
 * Writes of one group have no order among themselves, so they may start before
 * the group is complete: a plan holds at most PLAN_PENDING bytes in memory.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_PLAN_H
#define QCOW2CTL_PLAN_H

#include "image.h"

#define PLAN_PENDING	(64U << 20)

struct plan_write {
	u64 hoff;
	size_t len;
	u8 *data;
	const char *what;
};

struct plan {
	struct image *image;
	bool dry_run;		/* print, and write nothing */
	int ret;		/* of the first write that failed; nothing is written after it */
	struct plan_write *writes;
	size_t nr_writes;
	size_t pending;		/* bytes of them */
	u8 *bounce;
	u64 read, written, barriers;	/* bytes, bytes, number: for the reader of --debug */
};

/* @image is open for direct writing (or for reading, in a dry run). */
void plan_init(struct plan *plan, struct image *image, bool dry_run);
/* Forget what was not written. */
void plan_release(struct plan *plan);

/*
 * @len bytes to @hoff. The zeroed buffer that comes back is the plan's and may
 * be filled until the next call on this plan. @what names it for people.
 */
void *plan_write(struct plan *plan, u64 hoff, size_t len, const char *what);
/* Everything before it is durable when it returns. */
int plan_barrier(struct plan *plan);
/* The bytes are nobody's any more. Failure does not matter. */
void plan_discard(struct plan *plan, u64 hoff, u64 len);
/* Zeros to @len bytes at @hoff that no pending write touches. */
int plan_zero(struct plan *plan, u64 hoff, u64 len);
/* Cut or extend a regular file. */
int plan_truncate(struct plan *plan, u64 end);

#endif
