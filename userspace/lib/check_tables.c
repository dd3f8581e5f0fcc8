// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Collect L2 tables, and read them in the order of the disk and in large pieces.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "check_tables.h"
#include "err.h"
#include "mem.h"
#include "progress.h"

#define RUN_BYTES	(4U << 20)	/* read at once */
#define GAP_BYTES	(64U << 10)	/* read along rather than skipped */
#define AHEAD		64		/* tables that the kernel is told about */
#define SLACK		65536		/* tables that wait for merging */

void check_tables_release(struct check_tables *tables)
{
	free(tables->tables);
	memset(tables, 0, sizeof(*tables));
}

static int by_place(const void *a, const void *b)
{
	const struct check_table *left = a, *right = b;

	return left->hoff < right->hoff ? -1 : left->hoff > right->hoff;
}

void check_tables_merge(struct check_tables *tables)
{
	struct check_table *list = tables->tables;
	u64 i, n = 0;

	if (tables->merged == tables->count)
		return;
	qsort(list, tables->count, sizeof(*list), by_place);
	for (i = 0; i < tables->count; i++) {
		if (!n || list[n - 1].hoff != list[i].hoff) {
			list[n++] = list[i];
			continue;
		}
		if (!list[n - 1].active)
			list[n - 1].index = list[i].index;
		list[n - 1].refs += list[i].refs;
		list[n - 1].active += list[i].active;
	}
	tables->count = n;
	tables->merged = n;
}

u64 check_tables_memory(u64 count)
{
	/* Twice that and some wait for merging, there is room for twice as many, and what is copied to it. */
	return 3 * (2 * count + SLACK) * sizeof(struct check_table);
}

void check_tables_add(struct check_tables *tables, u64 hoff, u32 index, bool active)
{
	struct check_table *table;

	if (tables->count > 2 * tables->merged + SLACK)
		check_tables_merge(tables);
	if (tables->count == tables->room) {
		tables->room = tables->room ? 2 * tables->room : 1024;
		tables->tables = mem_resize(tables->tables, tables->count, tables->room,
					    sizeof(*table));
	}
	table = &tables->tables[tables->count++];
	*table = (struct check_table){ .hoff = hoff, .refs = 1, .active = active, .index = index };
}

struct check_table *check_tables_find(const struct check_tables *tables, u64 hoff)
{
	struct check_table key = { .hoff = hoff };

	if (!tables->count)
		return NULL;
	return bsearch(&key, tables->tables, tables->count, sizeof(key), by_place);
}

/* One past the last table that is read together with table @first. */
static u64 find_run(const struct check_tables *tables, u64 first, u32 size)
{
	const struct check_table *list = tables->tables;
	u64 i;

	for (i = first + 1; i < tables->count; i++) {
		if (list[i].hoff > list[i - 1].hoff + size + GAP_BYTES ||
		    list[i].hoff + size > list[first].hoff + RUN_BYTES)
			break;
	}
	return i;
}

/* Have the kernel read what comes next while this is looked at. */
static void read_ahead(const struct check_tables *tables, u64 from, u64 to,
		       const struct image *image)
{
	u64 i;

	for (i = from; i < to && i < tables->count; i++)
		posix_fadvise(image->fd, tables->tables[i].hoff, image->geo.cluster_size,
			      POSIX_FADV_WILLNEED);
}

int check_tables_walk(struct check_tables *tables, const struct image *image,
		      check_tables_visit *visit, void *data)
{
	u32 size = image->geo.cluster_size;
	MEM_FREE u8 *run = mem_aligned(RUN_BYTES);
	struct check_table *list = tables->tables;
	u64 i = 0, next, ahead = 0;
	int ret = 0;

	while (!ret && i < tables->count) {
		next = find_run(tables, i, size);
		if (!image->granule && next + AHEAD / 2 > ahead) {
			read_ahead(tables, ahead < next ? next : ahead, next + AHEAD, image);
			ahead = next + AHEAD;
		}
		ret = image_read(image, list[i].hoff, run, list[next - 1].hoff + size - list[i].hoff);
		if (ret)
			return err_errno_what(-ret, image->path, "cannot read an L2 table");
		ret = progress_step(i, tables->count);
		for (u64 start = list[i].hoff; !ret && i < next; i++)
			ret = visit(data, &list[i], (const __be64 *)(run + (list[i].hoff - start)));
	}
	return ret;
}
