/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The snapshot table as it is on disk: entries are kept byte for byte, with all
 * that they hold and we do not know.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_SNAPSHOT_TABLE_H
#define QCOW2CTL_SNAPSHOT_TABLE_H

#include "image.h"

struct snapshot_table {
	u8 *bytes;
	u64 len;			/* of all entries; the last may lack its padding */
	struct qcow2_snapshot *entries;	/* strings are offsets into bytes */
	u64 *offsets;			/* of the entries in bytes */
	u32 count;
};

/* Of a verified image; for snapshot_table_release() also after an error. */
int snapshot_table_read(const struct image *image, struct snapshot_table *table);
void snapshot_table_release(struct snapshot_table *table);

/* A string of an entry, for the caller to free. */
char *snapshot_table_string(const struct snapshot_table *table, const struct qcow2_string *string);
/* Entry with this id or else this tag; false if there is none. */
bool snapshot_table_find(const struct snapshot_table *table, const char *id, u32 *index);
bool snapshot_table_has_tag(const struct snapshot_table *table, const char *tag);
/* What the next snapshot is called: one more than the highest id. */
char *snapshot_table_next_id(const struct snapshot_table *table);

/* Add an entry; @snap says all but lengths and strings. */
void snapshot_table_add(struct snapshot_table *table, const struct qcow2_snapshot *snap,
			const char *id, const char *tag);
void snapshot_table_remove(struct snapshot_table *table, u32 index);

#endif
