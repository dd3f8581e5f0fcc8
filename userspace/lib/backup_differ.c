// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Compare two mappings.
 */
#include <asm/byteorder.h>
#include <stdlib.h>
#include <string.h>
#include "backup_differ.h"
#include "err.h"
#include "../../kernel/format.h"
#include "../../kernel/geometry.h"
#include "mem.h"
#include "progress.h"
#include "snapshot_table.h"
#include "tables.h"

struct state {
	u64 size;		/* of the disk, bytes */
	u64 *l1;
	u32 entries;
	struct tables tables;
};

static int load(struct state *state, const struct image *image, u64 hoff, u32 entries)
{
	MEM_FREE __be64 *disk = mem_aligned((entries + 1) * sizeof(*disk));
	int ret = image_read(image, hoff, disk, entries * sizeof(*disk));
	u32 i;

	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the L1 table");
	state->entries = entries;
	state->l1 = mem_zalloc((entries + 1) * sizeof(*state->l1));
	for (i = 0; i < entries; i++)
		state->l1[i] = be64_to_cpu(disk[i]);
	tables_init(&state->tables, image);
	return 0;
}

static int load_snapshot(struct state *state, const struct image *image,
			 const struct snapshot_table *table, const char *id)
{
	const struct qcow2_snapshot *snap;
	enum qcow2_verdict verdict;
	u32 index;

	if (!snapshot_table_find(table, id, &index))
		return err_fail(ERR_NOT_FOUND, image->path, "there is no snapshot '%s'", id);
	snap = &table->entries[index];
	verdict = qcow2_snapshot_l1(&image->geo, snap);
	if (verdict)
		return err_fail(ERR_CORRUPT, image->path, "snapshot '%s': %s", id,
				qcow2_verdict_text(verdict));
	state->size = snap->disk_size == QCOW2_SNAPSHOT_NONE ? image->header.size : snap->disk_size;
	return load(state, image, snap->l1_table_offset, snap->l1_size);
}

static void release(struct state *state)
{
	if (state->l1)
		tables_release(&state->tables);
	free(state->l1);
}

/* ------------------------------------------------------------------------
 * Compare
 */

/* COPIED says who else has it, and nothing about what is there. */
static u64 word(const __be64 *table, u32 i)
{
	return table ? be64_to_cpu(table[i]) & ~QCOW2_OFLAG_COPIED : 0;
}

static void compare_tables(const struct qcow2_geometry *geo, u32 index, const __be64 *from,
			   const __be64 *to, struct backup_ranges *changes)
{
	u32 step = geo->extended_l2 ? 2 : 1, i;
	u64 goff = (u64)index << qcow2_l1_shift(geo);

	for (i = 0; i < 1U << geo->l2_bits; i++, goff += geo->cluster_size) {
		if (word(from, i * step) != word(to, i * step) ||
		    (step == 2 && (from ? from[i * 2 + 1] : 0) != (to ? to[i * 2 + 1] : 0)))
			backup_ranges_add(changes, goff, geo->cluster_size, true);
	}
}

static u64 l1_word(const struct state *state, u32 index)
{
	return index < state->entries ? state->l1[index] & QCOW2_L1_HOFF_MASK : 0;
}

static int get(struct state *state, u32 index, const __be64 **table)
{
	*table = NULL;
	if (index >= state->entries)
		return 0;
	return tables_get(&state->tables, state->l1, state->entries, index, table);
}

static int compare(const struct image *image, struct state *from, struct state *to,
		   struct backup_ranges *changes)
{
	u32 count = qcow2_l1_needed(&image->geo, to->size), i;
	const __be64 *old, *new;
	int ret = 0;

	for (i = 0; !ret && i < count; i++) {
		ret = progress_step(i, count);
		if (ret || l1_word(from, i) == l1_word(to, i))
			continue;
		ret = get(from, i, &old);
		if (!ret)
			ret = get(to, i, &new);
		if (!ret)
			compare_tables(&image->geo, i, old, new, changes);
	}
	return ret;
}

/* Whatever is behind the old end was not there then. */
static void add_growth(const struct image *image, const struct state *from, const struct state *to,
		       struct backup_ranges *changes)
{
	u64 begin = from->size & ~(u64)(image->geo.cluster_size - 1);

	if (to->size <= from->size)
		return;
	backup_ranges_end(changes, begin);
	backup_ranges_add(changes, begin, to->size - begin, true);
}

int backup_differ(const struct image *image, const char *from, const char *to,
		  struct backup_ranges *changes)
{
	struct state old = { 0 }, new = { .size = image->header.size };
	struct snapshot_table table = { 0 };
	int ret = snapshot_table_read(image, &table);

	if (!ret)
		ret = load_snapshot(&old, image, &table, from);
	if (!ret)
		ret = to ? load_snapshot(&new, image, &table, to) :
			   load(&new, image, image->header.l1_table_offset, image->header.l1_size);
	if (!ret)
		ret = compare(image, &old, &new, changes);
	if (!ret)
		add_growth(image, &old, &new, changes);
	release(&old);
	release(&new);
	snapshot_table_release(&table);
	return ret;
}
