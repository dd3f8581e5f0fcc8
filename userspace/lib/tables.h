/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Reader of L2 tables: neighbours on disk are read at once, and each table is
 * read once, as long as all fit into TABLES_BYTES.
 */
#ifndef QCOW2CTL_TABLES_H
#define QCOW2CTL_TABLES_H

#include "image.h"

#define TABLES_BYTES	(128U << 20)

struct tables_slot {
	u64 hoff;		/* 0 = empty */
	__be64 *table;
};

struct tables {
	const struct image *image;
	struct tables_slot *slots;
	size_t nr_slots, nr_tables;
	u64 read;		/* bytes, so far */
};

void tables_init(struct tables *tables, const struct image *image);
void tables_release(struct tables *tables);

/*
 * The L2 table to which l1[index] of @size entries leads. *@table is NULL if it
 * leads nowhere, and good until the next call. Prints and returns an exit code.
 */
int tables_get(struct tables *tables, const u64 *l1, u32 size, u32 index, const __be64 **table);

#endif
