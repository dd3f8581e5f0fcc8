// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Count what a mended image refers to.
 */
#include <asm/byteorder.h>
#include "err.h"
#include "mem.h"
#include "progress.h"
#include "repair.h"

/* References to what does not lie beyond the end; such are dropped later. */
static void add(struct repair *repair, u64 hoff, u64 len, u64 times)
{
	const struct image *image = repair->edit.image;
	u64 hclu, last;

	if (!len || check_is_beyond(image, hoff, len))
		return;
	last = qcow2_to_clu(&image->geo, hoff + len - 1);
	for (hclu = qcow2_to_clu(&image->geo, hoff); hclu <= last; hclu++)
		check_counts_add(&repair->counts, hclu, times);
}

/* ------------------------------------------------------------------------
 * Mappings
 */

static void collect(struct repair *repair, const struct mapping *mapping, bool active)
{
	u64 hoff;
	u32 i;

	add(repair, mapping->hoff, mapping->size_on_disk * sizeof(__be64), 1);
	for (i = 0; i < mapping->size; i++) {
		hoff = repair_l1_entry(repair->edit.image, mapping->l1[i]);
		if (hoff)
			check_tables_add(&repair->tables, hoff, i, active);
	}
}

static void add_entry(struct repair *repair, const struct check_table *table, u64 raw)
{
	const struct qcow2_geometry *geo = &repair->edit.image->geo;
	struct qcow2_l2_entry entry;

	if (raw & QCOW2_OFLAG_COMPRESSED) {
		if (!qcow2_l2_decode(geo, raw, 0, &entry))
			add(repair, entry.hoff, entry.compressed_length, table->refs);
	} else if (raw & QCOW2_L2_HOFF_MASK && !geo->data_file) {
		add(repair, raw & QCOW2_L2_HOFF_MASK, geo->cluster_size, table->refs);
	}
}

static int count_table(void *data, struct check_table *table, const __be64 *words)
{
	struct repair *repair = data;
	const struct image *image = repair->edit.image;
	u32 nr = 1U << image->geo.l2_bits, i;
	u64 raw, bitmap = 0;

	for (i = 0; i < nr; i++) {
		raw = be64_to_cpu(*words++);
		if (image->geo.extended_l2)
			bitmap = be64_to_cpu(*words++);
		if (!raw && !bitmap)
			continue;
		repair_entry(image, REPAIR_NOWHERE, &raw, &bitmap);
		add_entry(repair, table, raw);
	}
	add(repair, table->hoff, image->geo.cluster_size, table->refs);
	return 0;
}

static int collect_all(struct repair *repair)
{
	struct check_snapshots *snapshots = &repair->check.snapshots;
	struct edit *edit = &repair->edit;
	int ret = mapping_load(&edit->active, edit->header.l1_table_offset, edit->header.l1_size);
	u32 i;

	if (ret)
		return ret;
	collect(repair, &edit->active, true);
	for (i = 0; !ret && !edit->image->geo.data_file && i < snapshots->count; i++) {
		struct mapping mapping;

		if (snapshots->entries[i].bad_l1)
			continue;
		edit_init_mapping(edit, &mapping);
		ret = mapping_load(&mapping, snapshots->entries[i].l1_hoff,
				   snapshots->entries[i].l1_size);
		if (!ret)
			collect(repair, &mapping, false);
		mapping_release(&mapping);
	}
	check_tables_merge(&repair->tables);
	return ret;
}

/* ------------------------------------------------------------------------
 * The rest
 */

static void add_bitmap(struct repair *repair, const struct qcow2_bitmap *bitmap)
{
	const struct image *image = repair->edit.image;
	u64 bytes = bitmap->table_size * sizeof(__be64), i;
	MEM_FREE __be64 *table = mem_aligned(bytes);

	add(repair, bitmap->table_offset, bytes, 1);
	/* The check has read it just now; unreadable bits are nobody's. */
	if (image_read(image, bitmap->table_offset, table, bytes))
		return;
	for (i = 0; i < bitmap->table_size; i++)
		add(repair, be64_to_cpu(table[i]) & QCOW2_L2_HOFF_MASK,
		    be64_to_cpu(table[i]) & QCOW2_L2_HOFF_MASK ? image->geo.cluster_size : 0, 1);
}

/* Bitmaps that contradict themselves are given up, all of them. */
static int count_bitmaps(struct repair *repair)
{
	const struct image *image = repair->edit.image;
	const struct qcow2_header *h = &image->header;
	MEM_FREE char *directory = NULL;
	struct qcow2_bitmap bitmap;
	u64 offset = 0;
	u32 nr;
	int ret;

	if (!h->has_bitmaps)
		return 0;
	if (repair->check.bitmaps) {
		err_warn(image->path, "the persistent bitmaps are lost");
		repair->edit.header.autoclear_features &= ~QCOW2_AUTOCLEAR_BITMAPS;
		return 0;
	}
	directory = mem_zalloc(h->bitmap_directory_size);
	ret = image_read(image, h->bitmap_directory_offset, directory, h->bitmap_directory_size);
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the bitmap directory");
	add(repair, h->bitmap_directory_offset, h->bitmap_directory_size, 1);
	for (nr = 0; nr < h->nb_bitmaps; nr++) {
		if (qcow2_bitmap_decode(directory, h->bitmap_directory_size, offset, &bitmap))
			break;
		add_bitmap(repair, &bitmap);
		offset += bitmap.length;
	}
	return 0;
}

/* Counts that are too narrow for what there is become wider, where the format can. */
static int widen(struct repair *repair, u64 highest)
{
	struct image *image = repair->edit.image;
	u32 order = image->geo.refcount_order;

	while (highest > qcow2_refcount_max(order))
		order++;
	if (order == image->geo.refcount_order)
		return 0;
	if (image->geo.version < 3)
		return err_fail(ERR_UNSUPPORTED, image->path,
				"a cluster has %llu references, more than version 2 can count",
				(unsigned long long)highest);
	repair->edit.header.refcount_order = order;
	qcow2_header_geometry(&repair->edit.header, &image->geo);
	return 0;
}

static int store(struct repair *repair)
{
	struct refcounts *counts = &repair->edit.counts;
	u64 hclu, count, highest = 0;
	int ret;

	for (hclu = 0; hclu < repair->counts.room; hclu++) {
		count = check_counts_get(&repair->counts, hclu);
		highest = count > highest ? count : highest;
	}
	ret = widen(repair, highest);
	refcounts_start(counts, repair->edit.image);
	for (hclu = 0; !ret && hclu < repair->counts.room; hclu++) {
		count = check_counts_get(&repair->counts, hclu);
		if (count)
			ret = refcounts_set(counts, hclu, count);
	}
	return ret;
}

int repair_count(struct repair *repair)
{
	const struct image *image = repair->edit.image;
	const struct qcow2_header *h = &image->header;
	int ret = check_counts_init(&repair->counts, repair->check.counts.room);

	if (ret)
		return err_errno_what(-ret, image->path, "no memory for the counts");
	progress_phase("counting");
	add(repair, 0, image->geo.cluster_size, 1);
	add(repair, h->crypto_offset, h->crypto_length, 1);
	add(repair, h->snapshots_offset, repair->check.snapshots.len, 1);
	ret = collect_all(repair);
	if (!ret)
		ret = check_tables_walk(&repair->tables, image, count_table, repair);
	if (!ret)
		ret = count_bitmaps(repair);
	return ret ? ret : store(repair);
}
