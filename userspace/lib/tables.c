// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * L2 tables in memory, found by their place on disk.
 */
#include <stdlib.h>
#include <string.h>
#include "err.h"
#include "mem.h"
#include "tables.h"

#define RUN_BYTES	(4U << 20)	/* read at once */
#define FIRST_SLOTS	1024

void tables_init(struct tables *tables, const struct image *image)
{
	memset(tables, 0, sizeof(*tables));
	tables->image = image;
}

void tables_release(struct tables *tables)
{
	size_t i;

	for (i = 0; i < tables->nr_slots; i++)
		free(tables->slots[i].table);
	free(tables->slots);
	tables->slots = NULL;
	tables->nr_slots = 0;
	tables->nr_tables = 0;
}

static struct tables_slot *find(const struct tables *tables, u64 hoff)
{
	size_t mask = tables->nr_slots - 1;
	size_t i = (hoff >> tables->image->geo.cluster_bits) * 0x9e3779b97f4a7c15ULL >> 20 & mask;

	while (tables->slots[i].hoff && tables->slots[i].hoff != hoff)
		i = (i + 1) & mask;
	return &tables->slots[i];
}

static void grow(struct tables *tables)
{
	struct tables_slot *old = tables->slots;
	size_t count = tables->nr_slots, i;

	tables->nr_slots = count ? 2 * count : FIRST_SLOTS;
	tables->slots = mem_zalloc(tables->nr_slots * sizeof(*tables->slots));
	for (i = 0; i < count; i++) {
		if (old[i].hoff)
			*find(tables, old[i].hoff) = old[i];
	}
	free(old);
}

static void insert(struct tables *tables, u64 hoff, const void *bytes)
{
	u32 cluster_size = tables->image->geo.cluster_size;
	struct tables_slot *slot;

	if (2 * tables->nr_tables >= tables->nr_slots)
		grow(tables);
	slot = find(tables, hoff);
	if (slot->hoff)
		return;
	slot->hoff = hoff;
	slot->table = mem_zalloc(cluster_size);
	memcpy(slot->table, bytes, cluster_size);
	tables->nr_tables++;
}

/* Where an L1 entry leads, 0 for nowhere. */
static int decode(const struct tables *tables, u64 raw, u64 *hoff)
{
	enum qcow2_verdict verdict;
	bool copied;

	verdict = qcow2_l1_decode(&tables->image->geo, raw, hoff, &copied);
	if (verdict)
		return err_fail(ERR_CORRUPT, tables->image->path, "l1 entry %#llx: %s",
				(unsigned long long)raw, qcow2_verdict_text(verdict));
	if (*hoff >= tables->image->end)
		return err_fail(ERR_CORRUPT, tables->image->path,
				"l1 entry %#llx: L2 table lies beyond the end of the image",
				(unsigned long long)raw);
	return 0;
}

int tables_get(struct tables *tables, const u64 *l1, u32 size, u32 index, const __be64 **table)
{
	u32 cluster_size = tables->image->geo.cluster_size, n, i;
	MEM_FREE u8 *run = NULL;
	u64 hoff, next;
	int ret;

	*table = NULL;
	ret = l1[index] ? decode(tables, l1[index], &hoff) : 0;
	if (ret || !l1[index] || !hoff)
		return ret;
	if (!tables->nr_slots)
		grow(tables);
	*table = find(tables, hoff)->table;
	if (*table)
		return 0;
	/* Further tables that follow on disk as they do in L1. */
	for (n = 1; index + n < size && (n + 1) * cluster_size <= RUN_BYTES; n++) {
		next = l1[index + n] & QCOW2_L1_HOFF_MASK;
		if (next != hoff + (u64)n * cluster_size)
			break;
	}
	if ((tables->nr_tables + n) * cluster_size > TABLES_BYTES) {
		tables_release(tables);
		grow(tables);
	}
	run = mem_aligned((size_t)n * cluster_size);
	ret = image_read(tables->image, hoff, run, (size_t)n * cluster_size);
	if (ret)
		return err_errno_what(-ret, tables->image->path, "cannot read an L2 table");
	tables->read += (u64)n * cluster_size;
	for (i = 0; i < n; i++)
		insert(tables, hoff + (u64)i * cluster_size, run + (size_t)i * cluster_size);
	*table = find(tables, hoff)->table;
	return 0;
}
