// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Write anew what has to change: L2 and L1 tables.
 */
#include <asm/byteorder.h>
#include <string.h>
#include "err.h"
#include "mem.h"
#include "progress.h"
#include "repair.h"

#define MAX_MESSAGES	20

void repair_report_lost(struct repair *repair, u64 goff, u64 len, bool active)
{
	const char *path = repair->edit.image->path;

	if (repair->lost++ < MAX_MESSAGES)
		err_warn(path, "%llu bytes at %#llx of %s are lost and read as zeros",
			 (unsigned long long)len, (unsigned long long)goff,
			 active ? "the disk" : "a snapshot");
	else if (repair->lost == MAX_MESSAGES + 1)
		err_warn(path, "more is lost");
}

/* ------------------------------------------------------------------------
 * L2
 */

/* COPIED as the counts want it, in a table that the disk uses. */
static u64 with_copied(struct repair *repair, u64 raw)
{
	const struct qcow2_geometry *geo = &repair->edit.image->geo;
	u64 hoff = raw & QCOW2_L2_HOFF_MASK;

	if (raw & QCOW2_OFLAG_COMPRESSED || geo->data_file || !hoff)
		return raw;
	raw &= ~QCOW2_OFLAG_COPIED;
	if (refcounts_get(&repair->edit.counts, qcow2_to_clu(geo, hoff)) == 1)
		raw |= QCOW2_OFLAG_COPIED;
	return raw;
}

/* In an external file every cluster is the disk's own. */
static u64 with_owner(const struct qcow2_geometry *geo, u64 raw)
{
	bool has_host = !(raw & QCOW2_OFLAG_COMPRESSED) && raw & QCOW2_L2_HOFF_MASK;

	return geo->data_file && has_host ? raw | QCOW2_OFLAG_COPIED : raw;
}

/* Version 2 cannot say "zeros", and without an entry the backing file would be seen. */
static bool needs_blank(const struct repair *repair)
{
	return repair->edit.image->geo.version < 3 && repair->edit.header.backing_file.length;
}

/*
 * An entry for a cluster of zeros, which many share, as often as its count can tell. It never says
 * COPIED: if one entry is left alone with it, that is the work of the next round.
 */
static int find_blank(struct repair *repair, u64 refs, u64 *raw)
{
	struct edit *edit = &repair->edit;
	const struct qcow2_geometry *geo = &edit->image->geo;
	int ret;

	if (!repair->blank || refs > edit->counts.max - repair->blank_refs) {
		ret = refcounts_alloc(&edit->counts, 1, &repair->blank);
		if (ret)
			return ret;
		plan_write(&edit->plan, repair->blank, geo->cluster_size, "zeros");
		repair->blank_refs = 0;
	}
	repair->blank_refs += refs;
	*raw = qcow2_l2_encode(QCOW2_CLUSTER_DATA, repair->blank, false);
	return refcounts_set(&edit->counts, qcow2_to_clu(geo, repair->blank), repair->blank_refs);
}

/* Mend the table's words in place. */
static int mend(struct repair *repair, const struct check_table *table, __be64 *words, bool *changed)
{
	const struct image *image = repair->edit.image;
	const struct qcow2_geometry *geo = &image->geo;
	u32 nr = 1U << geo->l2_bits, step = geo->extended_l2 ? 2 : 1, i;
	u64 start = (u64)table->index << qcow2_l1_shift(geo), raw, bitmap, goff;
	bool known = table->active && table->refs == 1, lost;
	int ret = 0;

	*changed = false;
	for (i = 0; !ret && i < nr; i++, words += step) {
		if (!words[0] && (step == 1 || !words[1]))
			continue;
		raw = be64_to_cpu(words[0]);
		bitmap = step == 2 ? be64_to_cpu(words[1]) : 0;
		goff = start + qcow2_to_off(geo, i);
		lost = repair_entry(image, known ? goff : REPAIR_NOWHERE, &raw, &bitmap);
		if (lost)
			repair_report_lost(repair, goff, geo->cluster_size, table->active);
		if (lost && needs_blank(repair))
			ret = find_blank(repair, table->refs, &raw);
		else if (table->active)
			raw = with_owner(geo, with_copied(repair, raw));
		if (raw != be64_to_cpu(words[0]) || (step == 2 && bitmap != be64_to_cpu(words[1])))
			*changed = true;
		words[0] = cpu_to_be64(raw);
		if (step == 2)
			words[1] = cpu_to_be64(bitmap);
	}
	return ret;
}

/* A table at its new place, with all references to it. */
static int move(struct repair *repair, struct check_table *table, const __be64 *words)
{
	struct edit *edit = &repair->edit;
	const struct qcow2_geometry *geo = &edit->image->geo;
	u64 old = qcow2_to_clu(geo, table->hoff);
	int ret = refcounts_alloc(&edit->counts, 1, &table->moved);

	if (!ret)
		ret = refcounts_set(&edit->counts, qcow2_to_clu(geo, table->moved), table->refs);
	if (!ret)
		ret = refcounts_set(&edit->counts, old,
				    refcounts_get(&edit->counts, old) - table->refs);
	if (!ret)
		memcpy(plan_write(&edit->plan, table->moved, geo->cluster_size, "L2 table"), words,
		       geo->cluster_size);
	return ret;
}

static int rewrite_table(void *data, struct check_table *table, const __be64 *words)
{
	struct repair *repair = data;
	const struct qcow2_geometry *geo = &repair->edit.image->geo;
	MEM_FREE __be64 *copy = mem_aligned(geo->cluster_size);
	bool changed, alone;
	int ret;

	memcpy(copy, words, geo->cluster_size);
	ret = mend(repair, table, copy, &changed);
	if (ret)
		return ret;
	alone = refcounts_get(&repair->edit.counts, qcow2_to_clu(geo, table->hoff)) == table->refs;
	return changed || !alone ? move(repair, table, copy) : 0;
}

/*
 * Without a backing file, no table reads as zeros as well. With one, lost
 * tables become one table of zeros, as often as its count can tell. In version 2
 * its entries count, too, so each gets its own.
 */
int repair_zeros(struct repair *repair, u64 *place)
{
	struct edit *edit = &repair->edit;
	const struct qcow2_geometry *geo = &edit->image->geo;
	u32 nr = geo->cluster_size / sizeof(__be64), step = geo->extended_l2 ? 2 : 1, i;
	u64 zero = step == 2 ? ~0ULL << 32 : QCOW2_OFLAG_ZERO;
	MEM_FREE __be64 *words = NULL;
	int ret;

	*place = 0;
	if (!edit->header.backing_file.length)
		return 0;
	if (!needs_blank(repair) && repair->zeros && repair->zeros_refs < edit->counts.max) {
		*place = repair->zeros;
		return refcounts_set(&edit->counts, qcow2_to_clu(geo, repair->zeros),
				     ++repair->zeros_refs);
	}
	ret = refcounts_alloc(&edit->counts, 1, &repair->zeros);
	if (ret)
		return ret;
	repair->zeros_refs = 1;
	*place = repair->zeros;
	words = mem_aligned(geo->cluster_size);
	for (i = 0; !ret && i < nr; i += step) {
		if (needs_blank(repair))
			ret = find_blank(repair, 1, &zero);
		words[i + step - 1] = cpu_to_be64(zero);
	}
	if (!ret)
		memcpy(plan_write(&edit->plan, repair->zeros, geo->cluster_size, "L2 table"), words,
		       geo->cluster_size);
	return ret;
}

/* ------------------------------------------------------------------------
 * L1
 */

/* Where entry @index shall lead. */
static int find_place(struct repair *repair, u64 raw, u32 index, bool active, u64 *place)
{
	const struct qcow2_geometry *geo = &repair->edit.image->geo;
	const struct check_table *table;

	*place = repair_l1_entry(repair->edit.image, raw);
	if (!*place && raw & QCOW2_L1_HOFF_MASK) {
		repair_report_lost(repair, (u64)index << qcow2_l1_shift(geo),
				   1ULL << qcow2_l1_shift(geo), active);
		return repair_zeros(repair, place);
	}
	table = *place ? check_tables_find(&repair->tables, *place) : NULL;
	if (table && table->moved)
		*place = table->moved;
	return 0;
}

static u64 encode(struct repair *repair, u64 raw, u64 place, bool active)
{
	u64 hclu = qcow2_to_clu(&repair->edit.image->geo, place);

	if (!active)
		return place | (place ? raw & QCOW2_OFLAG_COPIED : 0);
	return qcow2_l1_encode(place, place && refcounts_get(&repair->edit.counts, hclu) == 1);
}

/* Does the table lie alone in its clusters, and in the file? */
static bool is_placed(struct repair *repair, struct mapping *mapping)
{
	const struct image *image = repair->edit.image;
	u64 bytes = mapping->size_on_disk * sizeof(__be64), hclu, last;

	if (!bytes)
		return true;
	if (check_is_beyond(image, mapping->hoff, bytes)) {
		mapping->hoff = 0;
		return false;
	}
	last = qcow2_to_clu(&image->geo, mapping->hoff + bytes - 1);
	for (hclu = qcow2_to_clu(&image->geo, mapping->hoff); hclu <= last; hclu++) {
		if (refcounts_get(&repair->edit.counts, hclu) != 1)
			return false;
	}
	return true;
}

int repair_l1(struct repair *repair, struct mapping *mapping, bool active)
{
	u64 raw, place;
	int ret = 0;
	u32 i;

	if (!is_placed(repair, mapping))
		mapping->dirty = true;
	for (i = 0; !ret && i < mapping->size; i++) {
		raw = mapping->l1[i];
		if (!raw)
			continue;
		ret = find_place(repair, raw, i, active, &place);
		mapping->l1[i] = place;
		if (active)
			continue;
		mapping->l1[i] = encode(repair, raw, place, false);
		mapping->dirty |= mapping->l1[i] != raw;
	}
	return ret;
}

/* COPIED in L1 only when all places are known: a table of zeros may serve many entries. */
static int rewrite_active(struct repair *repair)
{
	struct mapping *mapping = &repair->edit.active;
	MEM_FREE u64 *old = mem_zalloc((mapping->size ? mapping->size : 1) * sizeof(*old));
	int ret;
	u32 i;

	memcpy(old, mapping->l1, mapping->size * sizeof(*old));
	ret = repair_l1(repair, mapping, true);
	if (!ret)
		ret = repair_snapshots(repair);
	for (i = 0; i < mapping->size; i++) {
		mapping->l1[i] = encode(repair, 0, mapping->l1[i], true);
		mapping->dirty |= mapping->l1[i] != old[i];
	}
	return ret;
}

int repair_rewrite(struct repair *repair)
{
	int ret;

	progress_phase("mending");
	ret = check_tables_walk(&repair->tables, repair->edit.image, rewrite_table, repair);
	return ret ? ret : rewrite_active(repair);
}
