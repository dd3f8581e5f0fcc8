// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * L1 and L2 tables of one mapping: count, change, write anew.
 */
#include <asm/byteorder.h>
#include <stdlib.h>
#include <string.h>
#include "err.h"
#include "mapping.h"
#include "mem.h"
#include "progress.h"

static u64 clusters_of(const struct mapping *mapping, u32 entries)
{
	return qcow2_to_clu(&mapping->image->geo,
			    qcow2_round_up(&mapping->image->geo, entries * (u64)sizeof(__be64)));
}

int mapping_load(struct mapping *mapping, u64 hoff, u32 size)
{
	MEM_FREE __be64 *disk = mem_aligned(size * sizeof(*disk));
	int ret = image_read(mapping->image, hoff, disk, size * sizeof(*disk));
	u32 i;

	if (ret)
		return err_errno_what(-ret, mapping->image->path, "cannot read the L1 table");
	mapping->hoff = hoff;
	mapping->size_on_disk = size;
	mapping->size = size;
	mapping->l1 = mem_zalloc(size * sizeof(*mapping->l1));
	for (i = 0; i < size; i++)
		mapping->l1[i] = be64_to_cpu(disk[i]);
	return 0;
}

void mapping_release(struct mapping *mapping)
{
	free(mapping->l1);
	mapping->l1 = NULL;
	mapping->size = 0;
}

void mapping_resize(struct mapping *mapping, u32 size)
{
	if (size == mapping->size)
		return;
	mapping->l1 = mem_resize(mapping->l1, mapping->size, size ? size : 1, sizeof(*mapping->l1));
	mapping->size = size;
	mapping->dirty = true;
}

/* ------------------------------------------------------------------------
 * Counts
 */

static u32 words(const struct mapping *mapping)
{
	return mapping->image->geo.extended_l2 ? 2 : 1;
}

static int fail_entry(const struct mapping *mapping, u64 raw, enum qcow2_verdict verdict)
{
	return err_fail(ERR_CORRUPT, mapping->image->path, "l2 entry %#llx: %s",
			(unsigned long long)raw, qcow2_verdict_text(verdict));
}

int mapping_count_entry(struct mapping *mapping, u64 raw, u64 bitmap, int delta)
{
	const struct qcow2_geometry *geo = &mapping->image->geo;
	struct qcow2_l2_entry entry;
	enum qcow2_verdict verdict;
	u64 first, last;

	verdict = qcow2_l2_decode(geo, raw, bitmap, &entry);
	if (verdict)
		return fail_entry(mapping, raw, verdict);
	if (entry.kind == QCOW2_CLUSTER_COMPRESSED) {
		first = qcow2_to_clu(geo, entry.hoff);
		last = qcow2_compressed_last_clu(geo, entry.hoff, entry.compressed_length);
		return refcounts_add(mapping->counts, qcow2_to_off(geo, first), last - first + 1,
				     delta);
	}
	if (!entry.has_host || geo->data_file)
		return 0;
	return refcounts_add(mapping->counts, entry.hoff, 1, delta);
}

static int count_table(struct mapping *mapping, const __be64 *table, int delta)
{
	u32 nr = 1U << mapping->image->geo.l2_bits, step = words(mapping), i;
	int ret = 0;

	for (i = 0; !ret && i < nr; i++, table += step) {
		if (table[0] || (step == 2 && table[1]))
			ret = mapping_count_entry(mapping, be64_to_cpu(table[0]),
						  step == 2 ? be64_to_cpu(table[1]) : 0, delta);
	}
	return ret;
}

int mapping_count(struct mapping *mapping, u32 first, u32 end, int delta)
{
	const __be64 *table;
	int ret = 0;
	u32 i;

	for (i = first; !ret && i < end; i++) {
		ret = progress_step(i - first, end - first);
		if (!ret)
			ret = tables_get(mapping->tables, mapping->l1, mapping->size, i, &table);
		if (ret || !table)
			continue;
		ret = count_table(mapping, table, delta);
		if (!ret)
			ret = refcounts_add(mapping->counts, mapping->l1[i] & QCOW2_L1_HOFF_MASK, 1,
					    delta);
	}
	return ret;
}

/* ------------------------------------------------------------------------
 * Changes
 */

int mapping_clear(struct mapping *mapping, u32 first, u32 end)
{
	int ret = mapping_count(mapping, first, end, -1);
	u32 i;

	for (i = first; i < end; i++) {
		mapping->dirty |= mapping->l1[i];
		mapping->l1[i] = 0;
	}
	return ret;
}

int mapping_table_open(struct mapping *mapping, u32 index, struct mapping_table *table)
{
	memset(table, 0, sizeof(*table));
	table->mapping = mapping;
	table->index = index;
	return tables_get(mapping->tables, mapping->l1, mapping->size, index, &table->old);
}

void mapping_table_get(const struct mapping_table *table, u32 nr, u64 *raw, u64 *bitmap)
{
	const __be64 *words_of = table->now ? table->now : table->old;
	u32 step = words(table->mapping);

	*raw = words_of ? be64_to_cpu(words_of[nr * step]) : 0;
	*bitmap = words_of && step == 2 ? be64_to_cpu(words_of[nr * step + 1]) : 0;
}

void mapping_table_set(struct mapping_table *table, u32 nr, u64 raw, u64 bitmap)
{
	u32 cluster_size = table->mapping->image->geo.cluster_size, step = words(table->mapping);

	if (!table->now) {
		table->now = mem_zalloc(cluster_size);
		if (table->old)
			memcpy(table->now, table->old, cluster_size);
	}
	table->now[nr * step] = cpu_to_be64(raw);
	if (step == 2)
		table->now[nr * step + 1] = cpu_to_be64(bitmap);
}

int mapping_table_drop(struct mapping_table *table, u32 nr)
{
	u64 raw, bitmap;

	mapping_table_get(table, nr, &raw, &bitmap);
	if (!raw && !bitmap)
		return 0;
	mapping_table_set(table, nr, 0, 0);
	return mapping_count_entry(table->mapping, raw, bitmap, -1);
}

int mapping_table_alloc(struct mapping_table *table, u32 nr, const char *what, void **data)
{
	struct mapping *mapping = table->mapping;
	u64 hoff;
	int ret = mapping_table_drop(table, nr);

	if (!ret)
		ret = refcounts_alloc(mapping->counts, 1, &hoff);
	if (ret)
		return ret;
	*data = plan_write(mapping->plan, hoff, mapping->image->geo.cluster_size, what);
	mapping_table_set(table, nr, qcow2_l2_encode(QCOW2_CLUSTER_DATA, hoff, true),
			  qcow2_l2_encode_bitmap(~0U, 0));
	return 0;
}

int mapping_table_zero(struct mapping_table *table, u32 nr, bool is_bottom)
{
	const struct qcow2_geometry *geo = &table->mapping->image->geo;
	int ret = mapping_table_drop(table, nr);
	void *data;

	if (ret || is_bottom)
		return ret;
	if (geo->version < 3)
		return mapping_table_alloc(table, nr, "zeros", &data);
	if (geo->extended_l2)
		mapping_table_set(table, nr, 0, qcow2_l2_encode_bitmap(0, ~0U));
	else
		mapping_table_set(table, nr, qcow2_l2_encode(QCOW2_CLUSTER_ZERO_PLAIN, 0, false), 0);
	return 0;
}

static bool is_empty(const struct mapping_table *table)
{
	u32 nr = table->mapping->image->geo.cluster_size / sizeof(__be64), i;

	for (i = 0; i < nr && !table->now[i];)
		i++;
	return i == nr;
}

void mapping_table_forget(struct mapping_table *table)
{
	free(table->now);
	table->now = NULL;
}

int mapping_table_close(struct mapping_table *table)
{
	struct mapping *mapping = table->mapping;
	u32 cluster_size = mapping->image->geo.cluster_size;
	u64 hoff = 0;
	int ret = 0;

	if (!table->now)
		return 0;
	if (table->old)
		ret = refcounts_add(mapping->counts, mapping->l1[table->index] & QCOW2_L1_HOFF_MASK,
				    1, -1);
	if (!ret && !is_empty(table)) {
		ret = refcounts_alloc(mapping->counts, 1, &hoff);
		if (!ret)
			memcpy(plan_write(mapping->plan, hoff, cluster_size, "L2 table"),
			       table->now, cluster_size);
	}
	mapping_table_forget(table);
	mapping->l1[table->index] = hoff ? qcow2_l1_encode(hoff, true) : 0;
	mapping->dirty = true;
	return ret;
}

/* The entry as the counts want it. */
static u64 refreshed(const struct mapping *mapping, u64 raw, u64 bitmap)
{
	const struct qcow2_geometry *geo = &mapping->image->geo;
	struct qcow2_l2_entry entry;
	bool copied;

	if (!raw || geo->data_file || qcow2_l2_decode(geo, raw, bitmap, &entry) || !entry.has_host)
		return raw;
	copied = refcounts_get(mapping->counts, qcow2_to_clu(geo, entry.hoff)) == 1;
	return (raw & ~QCOW2_OFLAG_COPIED) | (copied ? QCOW2_OFLAG_COPIED : 0);
}

static int refresh_table(struct mapping *mapping, u32 index)
{
	u32 nr = 1U << mapping->image->geo.l2_bits, i;
	u64 raw, bitmap, wanted, l1;
	struct mapping_table table;
	int ret = mapping_table_open(mapping, index, &table);

	if (ret || !table.old)
		return ret;
	for (i = 0; i < nr; i++) {
		mapping_table_get(&table, i, &raw, &bitmap);
		wanted = refreshed(mapping, raw, bitmap);
		if (wanted != raw)
			mapping_table_set(&table, i, wanted, bitmap);
	}
	if (table.now)
		return mapping_table_close(&table);
	l1 = mapping->l1[index] & QCOW2_L1_HOFF_MASK;
	l1 = qcow2_l1_encode(l1, refcounts_get(mapping->counts,
					       qcow2_to_clu(&mapping->image->geo, l1)) == 1);
	if (l1 != mapping->l1[index])
		mapping->dirty = true;
	mapping->l1[index] = l1;
	return 0;
}

int mapping_refresh(struct mapping *mapping)
{
	int ret = 0;
	u32 i;

	for (i = 0; !ret && i < mapping->size; i++) {
		ret = progress_step(i, mapping->size);
		if (!ret)
			ret = refresh_table(mapping, i);
	}
	return ret;
}

int mapping_free(struct mapping *mapping)
{
	u64 hoff = mapping->hoff;

	mapping->hoff = 0;
	if (!hoff)
		return 0;
	return refcounts_add(mapping->counts, hoff, clusters_of(mapping, mapping->size_on_disk), -1);
}

int mapping_stage(struct mapping *mapping)
{
	u64 clusters = clusters_of(mapping, mapping->size), hoff = 0;
	__be64 *disk;
	int ret;
	u32 i;

	if (!mapping->dirty)
		return 0;
	ret = mapping_free(mapping);
	/* A disk of no bytes has no table. */
	if (!ret && clusters)
		ret = refcounts_alloc(mapping->counts, clusters, &hoff);
	if (ret)
		return ret;
	disk = !clusters ? NULL :
			   plan_write(mapping->plan, hoff,
				      qcow2_to_off(&mapping->image->geo, clusters), "L1 table");
	for (i = 0; i < mapping->size; i++)
		disk[i] = cpu_to_be64(mapping->l1[i]);
	mapping->hoff = hoff;
	mapping->size_on_disk = mapping->size;
	mapping->dirty = false;
	return 0;
}
