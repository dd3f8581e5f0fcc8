// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The refcount table of one image, and the growth of refcount structures.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include "reftable.h"

/* Entries in one slice of the table, log2. */
static u32 entry_shift(const struct qcow2_refcount *rc)
{
	return rc->geo->slice_bits - 3;
}

u64 qcow2_reftable_entries(const struct qcow2_refcount *rc)
{
	return (u64)rc->table_clusters << (rc->geo->cluster_bits - 3);
}

static void slices_put(struct qcow2_slice **slices, u32 nr)
{
	qcow2_meta_put_table(slices, nr);
	kvfree(slices);
}

int qcow2_refcount_open(struct qcow2_refcount *rc, u64 table_hoff, u32 table_clusters)
{
	u32 size = qcow2_slice_size(rc->geo);
	u32 nr = ((u64)table_clusters << rc->geo->cluster_bits) / size;
	int ret;

	rc->table = kvcalloc(nr, sizeof(*rc->table), GFP_NOIO);
	if (!rc->table)
		return -ENOMEM;
	ret = qcow2_meta_load_table(rc->meta, table_hoff, QCOW2_SLICE_REFTABLE, rc->table, nr);
	if (ret) {
		kvfree(rc->table);
		rc->table = NULL;
		return ret;
	}
	rc->nr_table_slices = nr;
	rc->table_hoff = table_hoff;
	rc->table_clusters = table_clusters;
	rc->cursor = 0;
	/* The end of a device says nothing about what is in use; what no block counts is not. */
	rc->fresh = rc->meta->backend->file ? qcow2_to_clu(rc->geo, *rc->end) : 0;
	rc->nr_ready = 0;
	rc->next_ready = 0;
	rc->counted = 0;
	WRITE_ONCE(rc->allocated, 0);
	WRITE_ONCE(rc->highest, 0);
	memset(&rc->move, 0, sizeof(rc->move));
	return 0;
}

void qcow2_refcount_close(struct qcow2_refcount *rc)
{
	if (rc->table)
		slices_put(rc->table, rc->nr_table_slices);
	rc->table = NULL;
	rc->nr_table_slices = 0;
	rc->table_clusters = 0;
}

u64 qcow2_reftable_next(const struct qcow2_refcount *rc, u64 index)
{
	u32 shift = entry_shift(rc), at = index >> shift;

	if (at >= rc->nr_table_slices || rc->table[at])
		return index;
	while (at < rc->nr_table_slices && !rc->table[at])
		at++;
	return (u64)at << shift;
}

int qcow2_reftable_block(struct qcow2_refcount *rc, u64 index, u64 *hoff)
{
	const struct qcow2_slice *slice;
	u32 shift = entry_shift(rc);
	u64 raw;

	*hoff = 0;
	if (index >= qcow2_reftable_entries(rc))
		return 0;
	slice = rc->table[index >> shift];
	if (!slice)
		return 0;
	raw = qcow2_slice_word(slice, index & ((1U << shift) - 1));
	if (qcow2_reftable_decode(rc->geo, raw, hoff) || *hoff >= *rc->end)
		return -EUCLEAN;
	return 0;
}

bool qcow2_reftable_fits(const struct qcow2_refcount *rc, u64 hclu)
{
	const struct qcow2_backend *backend = rc->meta->backend;

	if (hclu >= QCOW2_MAX_HOFF >> rc->geo->cluster_bits)
		return false;
	return backend->file ||
	       hclu < qcow2_to_clu(rc->geo, qcow2_backend_size(backend));
}

int qcow2_reftable_extend(struct qcow2_refcount *rc, u64 clusters)
{
	u64 end = qcow2_to_off(rc->geo, clusters);
	int ret;

	lockdep_assert_held(&rc->lock);
	if (!qcow2_reftable_fits(rc, clusters - 1))
		return -ENOSPC;
	ret = qcow2_backend_extend(rc->meta->backend, end);
	if (!ret && end > *rc->end)
		WRITE_ONCE(*rc->end, end);
	return ret;
}

/* Does @hclu read as zeros because nobody wrote it since the file grew over it? */
static bool cluster_fresh(const struct qcow2_refcount *rc, u64 hclu)
{
	return rc->meta->backend->extends_with_zeros && hclu >= rc->fresh;
}

/*
 * Write a new refcount block at @block: zeros, but 1 for the @nr clusters from
 * @first on that lie in its range. Nothing points to it yet.
 */
static int write_block(struct qcow2_refcount *rc, u64 block, u64 first, u64 nr, bool zeroed)
{
	u32 bits = rc->geo->refblock_bits, size = qcow2_slice_size(rc->geo);
	u64 per_slice = ((u64)size * 8) >> rc->geo->refcount_order;
	u64 base = (first >> bits) << bits;
	u64 end = min(first + nr, base + (1ULL << bits));
	u64 hoff = qcow2_to_off(rc->geo, block), at;
	void *buffer;
	int ret;

	ret = qcow2_meta_format(rc->meta, hoff, zeroed);
	if (ret)
		return ret;
	buffer = kmalloc(size, GFP_NOIO);
	if (!buffer)
		return -ENOMEM;
	while (first < end && !ret) {
		at = (first - base) / per_slice;
		memset(buffer, 0, size);
		for (; first < end && (first - base) / per_slice == at; first++)
			qcow2_refcount_set(buffer, (first - base) & (per_slice - 1),
					   rc->geo->refcount_order, 1);
		ret = qcow2_backend_write(rc->meta->backend, hoff + at * size, buffer, size);
	}
	kfree(buffer);
	return ret;
}

/* The slice of entry @index, which is going to change. */
static struct qcow2_slice *entry_slice(struct qcow2_refcount *rc, u64 index)
{
	u32 at = index >> entry_shift(rc);
	struct qcow2_slice *slice = rc->table[at];

	lockdep_assert_held(&rc->lock);
	if (slice)
		return slice;
	slice = qcow2_meta_load(rc->meta,
				rc->table_hoff + (u64)at * qcow2_slice_size(rc->geo),
				QCOW2_SLICE_REFTABLE, NULL);
	if (!IS_ERR(slice))
		rc->table[at] = slice;
	return slice;
}

int qcow2_reftable_add_block(struct qcow2_refcount *rc, u64 index)
{
	u64 hclu = index << rc->geo->refblock_bits;
	u64 end = hclu + (1ULL << rc->geo->refblock_bits);
	u32 shift = entry_shift(rc);
	struct qcow2_slice *slice;
	unsigned long flags;
	int ret;

	lockdep_assert_held(&rc->lock);
	while (hclu < end && qcow2_metaset_contains(rc->metaset, hclu))
		hclu++;
	if (hclu == end)
		return -EUCLEAN;
	slice = entry_slice(rc, index);
	if (IS_ERR(slice))
		return PTR_ERR(slice);
	ret = qcow2_reftable_extend(rc, hclu + 1);
	if (!ret)
		ret = write_block(rc, hclu, hclu, 1, cluster_fresh(rc, hclu));
	if (!ret)
		ret = qcow2_metaset_add(rc->metaset, hclu);
	if (ret)
		return ret;
	qcow2_watch_mark(rc->watch, hclu, 1);
	rc->fresh = max(rc->fresh, hclu + 1);
	if (index < rc->counted)
		WRITE_ONCE(rc->allocated, rc->allocated + 1);
	WRITE_ONCE(rc->highest, max(rc->highest, hclu));
	flags = qcow2_meta_change(slice);
	WRITE_ONCE(slice->data[index & ((1U << shift) - 1)],
		   cpu_to_be64(qcow2_to_off(rc->geo, hclu)));
	spin_unlock_irqrestore(&rc->meta->lock, flags);
	return 0;
}

/* Where a larger table and the blocks that count it will lie. */
struct growth {
	u64 first;		/* cluster; blocks first, then the table */
	u64 index;		/* of the first block in the table */
	u32 blocks;
	u32 clusters;		/* of the table */
};

static int growth_plan(const struct qcow2_refcount *rc, struct growth *g)
{
	u64 entries = qcow2_reftable_entries(rc), need;
	u32 bits = rc->geo->refblock_bits;

	g->first = max(entries << bits, rc->fresh);
	g->index = g->first >> bits;
	g->blocks = 0;
	do {
		g->blocks++;
		need = max(g->index + g->blocks, entries + entries / 2);
		g->clusters = DIV_ROUND_UP_ULL(need * sizeof(__be64), rc->geo->cluster_size);
		if (qcow2_to_off(rc->geo, g->clusters) > QCOW2_MAX_REFTABLE_BYTES)
			return -EFBIG;
	} while (((g->first + g->blocks + g->clusters - 1) >> bits) >= g->index + g->blocks);
	return 0;
}

/* The slices of the new table: the old entries and those of the new blocks. */
static struct qcow2_slice **growth_slices(struct qcow2_refcount *rc, const struct growth *g,
					  u32 *nr)
{
	u32 size = qcow2_slice_size(rc->geo), shift = entry_shift(rc);
	u64 hoff = qcow2_to_off(rc->geo, g->first + g->blocks);
	struct qcow2_slice **slices, *slice;
	const void *content;
	void *zeros;
	u64 index;
	u32 i;

	*nr = ((u64)g->clusters << rc->geo->cluster_bits) / size;
	slices = kvcalloc(*nr, sizeof(*slices), GFP_NOIO);
	zeros = kzalloc(size, GFP_NOIO);
	if (!slices || !zeros)
		goto out_free;
	for (i = 0; i < *nr; i++) {
		content = zeros;
		if (i < rc->nr_table_slices && rc->table[i])
			content = rc->table[i]->data;
		slice = qcow2_meta_load(rc->meta, hoff + (u64)i * size, QCOW2_SLICE_REFTABLE,
					content);
		if (IS_ERR(slice)) {
			slices_put(slices, i);
			slices = NULL;
			goto out_free;
		}
		slices[i] = slice;
	}
	kfree(zeros);
	for (i = 0; i < g->blocks; i++) {
		index = g->index + i;
		slices[index >> shift]->data[index & ((1U << shift) - 1)] =
			cpu_to_be64(qcow2_to_off(rc->geo, g->first + i));
	}
	return slices;

out_free:
	kfree(zeros);
	kvfree(slices);
	return NULL;
}

static void growth_unmark(struct qcow2_refcount *rc, const struct growth *g, u32 nr)
{
	while (nr--)
		qcow2_metaset_remove(rc->metaset, g->first + nr);
}

/*
 * All that grows is metadata from now on, or nothing: the next attempt has the same plan. Where no
 * block counts anything other metadata may lie all the same.
 */
static int growth_mark(struct qcow2_refcount *rc, const struct growth *g)
{
	u32 i;
	int ret;

	for (i = 0; i < g->blocks + g->clusters; i++) {
		ret = qcow2_metaset_add(rc->metaset, g->first + i);
		if (ret) {
			growth_unmark(rc, g, i);
			return ret == -EEXIST ? -EUCLEAN : ret;
		}
	}
	return 0;
}

/* Write blocks and table to their place, to which nothing points yet. */
static int growth_write(struct qcow2_refcount *rc, const struct growth *g,
			struct qcow2_slice **slices, u32 nr)
{
	u32 bits = rc->geo->refblock_bits, total = g->blocks + g->clusters;
	u64 first, hclu;
	int ret = 0;
	u32 i;

	for (i = 0; i < g->blocks && !ret; i++) {
		hclu = g->first + i;
		first = max(g->first, (g->index + i) << bits);
		if (first < g->first + total)
			ret = write_block(rc, hclu, first, g->first + total - first,
					  cluster_fresh(rc, hclu));
		else
			ret = qcow2_meta_format(rc->meta, qcow2_to_off(rc->geo, hclu),
						cluster_fresh(rc, hclu));
	}
	for (i = 0; i < nr && !ret; i++)
		ret = qcow2_backend_write(rc->meta->backend, slices[i]->hoff, slices[i]->data,
					  qcow2_slice_size(rc->geo));
	return ret;
}

/* Use the new table in memory; the next commit tells the header. */
static void growth_switch(struct qcow2_refcount *rc, const struct growth *g,
			  struct qcow2_slice **slices, u32 nr)
{
	struct qcow2_table_move *move = &rc->move;
	struct qcow2_slice **old = rc->table;
	u32 old_nr = rc->nr_table_slices, i;
	u64 old_entries = qcow2_reftable_entries(rc);
	unsigned long flags;

	qcow2_watch_mark(rc->watch, g->first, g->blocks + g->clusters);
	qcow2_watch_mark(rc->watch, qcow2_to_clu(rc->geo, rc->table_hoff), rc->table_clusters);
	for (i = 0; i < old_nr; i++) {
		if (old[i])
			qcow2_meta_abandon(old[i]);
	}
	spin_lock_irqsave(&rc->meta->lock, flags);
	move->old_hclu = qcow2_to_clu(rc->geo, rc->table_hoff);
	move->old_clusters = rc->table_clusters;
	move->hoff = qcow2_to_off(rc->geo, g->first + g->blocks);
	move->clusters = g->clusters;
	WRITE_ONCE(move->number, rc->meta->staged);
	if (rc->meta->changed)
		rc->meta->changed(rc->meta, false);
	spin_unlock_irqrestore(&rc->meta->lock, flags);
	rc->table = slices;
	rc->nr_table_slices = nr;
	rc->table_hoff = move->hoff;
	rc->table_clusters = g->clusters;
	if (rc->counted >= old_entries) {
		rc->counted = qcow2_reftable_entries(rc);
		WRITE_ONCE(rc->allocated, rc->allocated + g->blocks + g->clusters);
	}
	rc->fresh = max(rc->fresh, g->first + g->blocks + g->clusters);
	WRITE_ONCE(rc->highest, max(rc->highest, g->first + g->blocks + g->clusters - 1));
	slices_put(old, old_nr);
}

/* To where @g is, which is ours. */
static int grow_there(struct qcow2_refcount *rc, const struct growth *g)
{
	struct qcow2_slice **slices;
	int ret;
	u32 nr;

	ret = qcow2_reftable_extend(rc, g->first + g->blocks + g->clusters);
	if (ret)
		return ret;
	slices = growth_slices(rc, g, &nr);
	if (!slices)
		return -ENOMEM;
	ret = growth_write(rc, g, slices, nr);
	if (ret)
		slices_put(slices, nr);
	else
		growth_switch(rc, g, slices, nr);
	return ret;
}

int qcow2_reftable_grow(struct qcow2_refcount *rc)
{
	struct growth g;
	int ret;

	lockdep_assert_held(&rc->lock);
	/* A second move has to wait for the commit of the first. */
	if (READ_ONCE(rc->move.number))
		return -EAGAIN;
	ret = growth_plan(rc, &g);
	if (!ret)
		ret = growth_mark(rc, &g);
	if (ret)
		return ret;
	ret = grow_there(rc, &g);
	if (ret)
		growth_unmark(rc, &g, g.blocks + g.clusters);
	return ret;
}
