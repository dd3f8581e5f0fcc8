/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The reference counts of an image in memory, and the allocator of an edit.
 *
 * They are held as the image holds them, block by block. A block that changes
 * keeps a copy of what is on disk: a cluster may be allocated only if it is
 * free in both, for until the header is switched the old image must stay whole.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_REFCOUNTS_H
#define QCOW2CTL_REFCOUNTS_H

#include "plan.h"

struct refcount_block {
	u64 hoff;		/* on disk, 0 = nowhere */
	u8 *now;		/* NULL: all zero */
	u8 *old;		/* what is on disk, if that differs (and hoff is not 0) */
	bool dirty;
	enum qcow2_verdict verdict;	/* its table entry was not usable */
};

struct refcounts {
	const struct image *image;
	u32 order;
	u64 max;
	struct refcount_block *blocks;
	u64 nr_blocks;		/* entries of the table, in whole clusters of it */
	u64 table_hoff;
	u32 table_clusters;
	bool dirty;
	u64 first_free;		/* no cluster below is free */
	u64 limit;		/* clusters of a block device, or what the format allows */
	/* clusters that only look free (a repair keeps the old tables there), or NULL */
	bool (*is_taken)(void *data, u64 hclu);
	void *is_taken_data;
};

/*
 * Read table and blocks. @tolerant: an entry that is not usable is noted in its
 * block, whose counts are 0 then; else it is an error.
 */
int refcounts_load(struct refcounts *counts, const struct image *image, bool tolerant);
/* How many of its entries lead to a block. */
int refcounts_count_blocks(const struct image *image, u64 *nr);
/* None are there yet; all that is added will be written by refcounts_stage(). */
void refcounts_start(struct refcounts *counts, const struct image *image);
void refcounts_release(struct refcounts *counts);

u64 refcounts_get(const struct refcounts *counts, u64 hclu);
/* Add @delta (+1, -1) to each of @nr clusters from the one at @hoff on. */
int refcounts_add(struct refcounts *counts, u64 hoff, u64 nr, int delta);
int refcounts_set(struct refcounts *counts, u64 hclu, u64 value);
/* Refuse if one of the @nr clusters from the one at @hoff on has no count, although it is in use. */
int refcounts_verify(const struct refcounts *counts, u64 hoff, u64 nr);
/* @nr adjoining free clusters get the count 1. */
int refcounts_alloc(struct refcounts *counts, u64 nr, u64 *hoff);
/*
 * Write the changed blocks and the table to free clusters. The caller puts
 * table_hoff and table_clusters into the header.
 */
int refcounts_stage(struct refcounts *counts, struct plan *plan);
/* Discard what was in use and is not any more; after the header. */
void refcounts_discard(const struct refcounts *counts, struct plan *plan);
/* One past the last cluster with a count. */
u64 refcounts_end(const struct refcounts *counts);
/* The same on disk. */
u64 refcounts_old_end(const struct refcounts *counts);

#endif
