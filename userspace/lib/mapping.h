/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * One L1 table and all that it leads to: counting its references, and changing
 * it. A table that changes gets a new place (see plan.h); who changes an L2
 * table that other L1 tables lead to as well gets a copy.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_MAPPING_H
#define QCOW2CTL_MAPPING_H

#include "plan.h"
#include "refcounts.h"
#include "tables.h"

struct mapping {
	const struct image *image;
	struct refcounts *counts;
	struct tables *tables;
	struct plan *plan;
	u64 hoff;		/* on disk, with size_on_disk entries; 0 = nowhere */
	u32 size_on_disk;
	u64 *l1;		/* entries, in the byte order of the host */
	u32 size;
	bool dirty;
};

/* One L2 table of a mapping that may change. Entries have one word, or two with extended L2. */
struct mapping_table {
	struct mapping *mapping;
	u32 index;
	const __be64 *old;	/* NULL: there was none */
	__be64 *now;		/* NULL: nothing has changed */
};

int mapping_load(struct mapping *mapping, u64 hoff, u32 size);
void mapping_release(struct mapping *mapping);
/* New entries are empty; those that go must be empty. */
void mapping_resize(struct mapping *mapping, u32 size);

/* Add @delta (+1, -1) to the count of all that the entries [@first, @end) lead to. */
int mapping_count(struct mapping *mapping, u32 first, u32 end, int delta);
/* The same for the clusters that one L2 entry leads to. */
int mapping_count_entry(struct mapping *mapping, u64 raw, u64 bitmap, int delta);
/* The entries [@first, @end) lead nowhere any more; what they led to is counted down. */
int mapping_clear(struct mapping *mapping, u32 first, u32 end);
/* Make COPIED what the counts say, everywhere; only the active mapping needs that. */
int mapping_refresh(struct mapping *mapping);

int mapping_table_open(struct mapping *mapping, u32 index, struct mapping_table *table);
void mapping_table_get(const struct mapping_table *table, u32 nr, u64 *raw, u64 *bitmap);
void mapping_table_set(struct mapping_table *table, u32 nr, u64 raw, u64 bitmap);
/* Entry @nr is empty; what it led to is counted down. */
int mapping_table_drop(struct mapping_table *table, u32 nr);
/* Entry @nr is a new cluster of its own; the buffer for its data is as that of plan_write(). */
int mapping_table_alloc(struct mapping_table *table, u32 nr, const char *what, void **data);
/* Entry @nr reads as zeros; @is_bottom: nothing is below the image. */
int mapping_table_zero(struct mapping_table *table, u32 nr, bool is_bottom);
/*
 * Plan the table's new place if it has changed. It can be read again only after
 * the plan was executed: who changes a table changes it once.
 */
int mapping_table_close(struct mapping_table *table);
/* After an error instead. */
void mapping_table_forget(struct mapping_table *table);

/* Plan the L1 table's new place if it has changed; the caller puts hoff and size into the header. */
int mapping_stage(struct mapping *mapping);
/* Its clusters are free; what it leads to is not touched. */
int mapping_free(struct mapping *mapping);

#endif
