/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * All L2 tables of an image, each once with the number of L1 entries that lead
 * to it: so a table that a thousand snapshots share is read once. They are
 * visited in the order in which they lie on disk.
 */
#ifndef QCOW2CTL_CHECK_TABLES_H
#define QCOW2CTL_CHECK_TABLES_H

#include "image.h"

struct check_table {
	u64 hoff;		/* where it is, perhaps at no cluster's start */
	u64 refs;		/* L1 entries that lead to it */
	u64 active;		/* those of the disk itself among them */
	u32 index;		/* one of these entries, for messages */
	u64 moved;		/* for the visitor: its new place */
};

struct check_tables {
	struct check_table *tables;
	u64 count, room;
	u64 merged;		/* so many are distinct and sorted */
};

/* Called with a table and its words, which are good until it returns; prints and returns an exit code. */
typedef int check_tables_visit(void *data, struct check_table *table, const __be64 *words);

void check_tables_release(struct check_tables *tables);
void check_tables_add(struct check_tables *tables, u64 hoff, u32 index, bool active);
/* Bytes that a list of so many different tables takes at most while it grows. */
u64 check_tables_memory(u64 count);
/* Sort, and make one of those at the same place. */
void check_tables_merge(struct check_tables *tables);
/* The table at @hoff after merging, or NULL. */
struct check_table *check_tables_find(const struct check_tables *tables, u64 hoff);
/* After merging. Prints and returns an exit code. */
int check_tables_walk(struct check_tables *tables, const struct image *image,
		      check_tables_visit *visit, void *data);

#endif
