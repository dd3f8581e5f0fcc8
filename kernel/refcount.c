// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The counts of host clusters, and the cluster allocator.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include "refcount.h"
#include "reftable.h"

/* Counts in one slice of a refcount block. */
static u64 slice_counts(const struct qcow2_refcount *rc)
{
	return ((u64)qcow2_slice_size(rc->geo) * 8) >> rc->geo->refcount_order;
}

/* Where the slice of counts of @hclu lies, 0: there is no block; and the count's index in it. */
static int count_place(struct qcow2_refcount *rc, u64 hclu, u64 *hoff, u32 *index)
{
	u64 per_slice = slice_counts(rc);
	u32 in_block = qcow2_refblock_index(rc->geo, hclu);
	int ret;

	lockdep_assert_held(&rc->lock);
	ret = qcow2_reftable_block(rc, qcow2_reftable_index(rc->geo, hclu), hoff);
	*index = in_block & (per_slice - 1);
	if (*hoff)
		*hoff += (in_block / per_slice) << rc->geo->slice_bits;
	return ret;
}

/* That slice, pinned; NULL: there is no block. */
static struct qcow2_slice *count_slice(struct qcow2_refcount *rc, u64 hclu, u32 *index)
{
	u64 hoff;
	int ret = count_place(rc, hclu, &hoff, index);

	if (ret || !hoff)
		return ERR_PTR(ret);
	return qcow2_meta_get(rc->meta, hoff, QCOW2_SLICE_REFBLOCK);
}

/*
 * The same for who walks over all counts: what is not in the cache does not get
 * into it. It is on the disk as it is, because all changes are under the lock
 * and what was changed stays until it is written.
 */
static struct qcow2_slice *count_slice_once(struct qcow2_refcount *rc, u64 hclu, u32 *index)
{
	struct qcow2_slice *slice;
	u64 hoff;
	int ret = count_place(rc, hclu, &hoff, index);

	if (ret || !hoff)
		return ERR_PTR(ret);
	slice = qcow2_meta_find(rc->meta, hoff);
	return slice ?: qcow2_meta_load(rc->meta, hoff, QCOW2_SLICE_REFBLOCK, NULL);
}

static void set_count(struct qcow2_refcount *rc, struct qcow2_slice *slice, u32 index, u64 count)
{
	unsigned long flags = qcow2_meta_change(slice);

	qcow2_refcount_set(slice->data, index, rc->geo->refcount_order, count);
	spin_unlock_irqrestore(&rc->meta->lock, flags);
}

static u64 get_count(struct qcow2_refcount *rc, struct qcow2_slice *slice, u32 index)
{
	return qcow2_refcount_get(slice->data, index, rc->geo->refcount_order);
}

/* Keep the statistics true when a cluster becomes used or free. */
static void __account(struct qcow2_refcount *rc, u64 hclu, int change)
{
	lockdep_assert_held(&rc->lock);
	if (qcow2_reftable_index(rc->geo, hclu) < rc->counted)
		WRITE_ONCE(rc->allocated, rc->allocated + change);
	if (change > 0 && hclu > rc->highest)
		WRITE_ONCE(rc->highest, hclu);
}

int qcow2_refcount_count(struct qcow2_refcount *rc, u64 hclu, u64 *count)
{
	struct qcow2_slice *slice;
	int ret = 0;
	u32 index;

	mutex_lock(&rc->lock);
	slice = count_slice(rc, hclu, &index);
	if (IS_ERR(slice)) {
		ret = PTR_ERR(slice);
	} else if (!slice) {
		*count = 0;
	} else {
		*count = get_count(rc, slice, index);
		qcow2_meta_put(slice);
	}
	mutex_unlock(&rc->lock);
	return ret;
}

static int __drop(struct qcow2_refcount *rc, u64 hclu)
{
	struct qcow2_slice *slice;
	u32 index;
	u64 count;

	slice = count_slice(rc, hclu, &index);
	if (IS_ERR_OR_NULL(slice))
		return slice ? PTR_ERR(slice) : -EUCLEAN;
	count = get_count(rc, slice, index);
	if (count) {
		qcow2_watch_mark(rc->watch, hclu, 1);
		set_count(rc, slice, index, count - 1);
		if (count == 1) {
			__account(rc, hclu, -1);
			rc->cursor = min(rc->cursor, hclu);
		}
	}
	qcow2_meta_put(slice);
	return count ? 0 : -EUCLEAN;
}

int qcow2_refcount_drop(struct qcow2_refcount *rc, u64 hclu)
{
	int ret;

	mutex_lock(&rc->lock);
	ret = __drop(rc, hclu);
	mutex_unlock(&rc->lock);
	return ret;
}

/*
 * Collect up to @want free clusters from the cursor on, all counted in one
 * slice. Moves the cursor to the first found, or over what is in use.
 */
static int __collect(struct qcow2_refcount *rc, u32 want, struct qcow2_slice **where)
{
	u64 hclu = rc->cursor, limit;
	struct qcow2_slice *slice;
	u32 index, n = 0;

	if (qcow2_reftable_index(rc->geo, hclu) >= qcow2_reftable_entries(rc))
		return qcow2_reftable_grow(rc);
	slice = count_slice(rc, hclu, &index);
	if (IS_ERR(slice))
		return PTR_ERR(slice);
	if (!slice)
		return qcow2_reftable_add_block(rc, qcow2_reftable_index(rc->geo, hclu));
	limit = hclu - index + slice_counts(rc);
	for (; hclu < limit && n < want; hclu++, index++) {
		if (get_count(rc, slice, index) ||
		    qcow2_metaset_contains(rc->metaset, hclu))
			continue;
		if (!qcow2_reftable_fits(rc, hclu))
			break;
		rc->ready[n++] = hclu;
	}
	if (!n && hclu < limit) {
		qcow2_meta_put(slice);
		return -ENOSPC;
	}
	rc->cursor = n ? rc->ready[0] : limit;
	rc->nr_ready = n;
	rc->next_ready = 0;
	*where = slice;
	return 0;
}

/* Count the collected clusters as used; the file reaches over the last one. */
static void __take(struct qcow2_refcount *rc, struct qcow2_slice *slice)
{
	u64 per_slice = slice_counts(rc);
	unsigned long flags;
	u32 i, index;

	flags = qcow2_meta_change(slice);
	for (i = 0; i < rc->nr_ready; i++) {
		index = qcow2_refblock_index(rc->geo, rc->ready[i]) & (per_slice - 1);
		qcow2_refcount_set(slice->data, index, rc->geo->refcount_order, 1);
	}
	spin_unlock_irqrestore(&rc->meta->lock, flags);
	for (i = 0; i < rc->nr_ready; i++) {
		qcow2_watch_mark(rc->watch, rc->ready[i], 1);
		__account(rc, rc->ready[i], 1);
	}
	rc->cursor = rc->ready[rc->nr_ready - 1] + 1;
	rc->ready_fresh = rc->fresh;
	rc->fresh = max(rc->fresh, rc->cursor);
}

/* Fill the batch. On a nearly full file system a batch of one is tried too. */
static int __refill(struct qcow2_refcount *rc)
{
	u32 want = clamp_t(u32, QCOW2_BATCH_BYTES >> rc->geo->cluster_bits, 1,
			   QCOW2_BATCH_CLUSTERS);
	struct qcow2_slice *slice;
	int ret;

	rc->nr_ready = 0;
	rc->next_ready = 0;
	for (;;) {
		slice = NULL;
		ret = __collect(rc, want, &slice);
		if (ret)
			return ret;
		if (slice && rc->nr_ready)
			break;
		if (slice)
			qcow2_meta_put(slice);
		cond_resched();
	}
	ret = qcow2_reftable_extend(rc, rc->ready[rc->nr_ready - 1] + 1);
	if (ret == -ENOSPC && rc->nr_ready > 1) {
		rc->nr_ready = 1;
		ret = qcow2_reftable_extend(rc, rc->ready[0] + 1);
	}
	if (ret)
		rc->nr_ready = 0;
	else
		__take(rc, slice);
	qcow2_meta_put(slice);
	if (!ret && rc->refilled)
		rc->refilled(rc);
	return ret;
}

int qcow2_refcount_reserve(struct qcow2_refcount *rc, struct qcow2_cluster *cluster)
{
	int ret = 0;
	u64 hclu;

	mutex_lock(&rc->lock);
	if (rc->next_ready == rc->nr_ready)
		ret = __refill(rc);
	if (!ret) {
		hclu = rc->ready[rc->next_ready++];
		cluster->hoff = qcow2_to_off(rc->geo, hclu);
		cluster->zeroed = rc->meta->backend->extends_with_zeros &&
				  hclu >= rc->ready_fresh;
	}
	mutex_unlock(&rc->lock);
	return ret;
}

void qcow2_refcount_unreserve(struct qcow2_refcount *rc, u64 hoff)
{
	mutex_lock(&rc->lock);
	__drop(rc, qcow2_to_clu(rc->geo, hoff));
	mutex_unlock(&rc->lock);
}

void qcow2_refcount_return_batch(struct qcow2_refcount *rc)
{
	mutex_lock(&rc->lock);
	while (rc->next_ready < rc->nr_ready)
		__drop(rc, rc->ready[rc->next_ready++]);
	mutex_unlock(&rc->lock);
}

/* Clusters in use in block @index; *@highest is raised to the last one. */
static int __count_block(struct qcow2_refcount *rc, u64 index, u64 *used, u64 *highest)
{
	u64 hclu = index << rc->geo->refblock_bits;
	u64 end = hclu + (1ULL << rc->geo->refblock_bits);
	struct qcow2_slice *slice;
	u64 per_slice = slice_counts(rc);
	u32 at, i;

	for (*used = 0; hclu < end; hclu += per_slice) {
		slice = count_slice_once(rc, hclu, &at);
		if (IS_ERR_OR_NULL(slice))
			return PTR_ERR_OR_ZERO(slice);
		for (i = 0; i < per_slice; i++) {
			if (get_count(rc, slice, i)) {
				(*used)++;
				*highest = max(*highest, hclu + i);
			}
		}
		qcow2_meta_put(slice);
		cond_resched();
	}
	return 0;
}

bool qcow2_refcount_census(struct qcow2_refcount *rc)
{
	u64 used, highest = 0;
	bool more;

	mutex_lock(&rc->lock);
	rc->counted = qcow2_reftable_next(rc, rc->counted);
	more = rc->counted < qcow2_reftable_entries(rc);
	if (more) {
		if (!__count_block(rc, rc->counted, &used, &highest)) {
			WRITE_ONCE(rc->allocated, rc->allocated + used);
			WRITE_ONCE(rc->highest, max(rc->highest, highest));
		}
		rc->counted++;
	}
	mutex_unlock(&rc->lock);
	return more;
}

int qcow2_refcount_used_end(struct qcow2_refcount *rc, u64 from, u64 to, u64 *end)
{
	u64 first = qcow2_to_clu(rc->geo, from) >> rc->geo->refblock_bits;
	u64 last = qcow2_to_clu(rc->geo, to) >> rc->geo->refblock_bits;
	u64 index, used, highest = 0;
	int ret = 0;

	mutex_lock(&rc->lock);
	for (index = min(last + 1, qcow2_reftable_entries(rc)); index-- > first && !highest; ) {
		ret = __count_block(rc, index, &used, &highest);
		if (ret)
			break;
	}
	*end = qcow2_to_off(rc->geo, highest + 1);
	mutex_unlock(&rc->lock);
	return ret;
}

void qcow2_refcount_watch(struct qcow2_refcount *rc, struct qcow2_watch *watch)
{
	struct qcow2_table_move move;
	unsigned long flags;
	u32 i;

	mutex_lock(&rc->lock);
	rc->watch = watch;
	for (i = rc->next_ready; i < rc->nr_ready; i++)
		qcow2_watch_mark(watch, rc->ready[i], 1);
	spin_lock_irqsave(&rc->meta->lock, flags);
	move = rc->move;
	spin_unlock_irqrestore(&rc->meta->lock, flags);
	if (move.number)
		qcow2_watch_mark(watch, move.old_hclu, move.old_clusters);
	mutex_unlock(&rc->lock);
}

int qcow2_refcount_block(struct qcow2_refcount *rc, u64 index, u64 *hoff)
{
	int ret;

	mutex_lock(&rc->lock);
	ret = qcow2_reftable_block(rc, index, hoff);
	mutex_unlock(&rc->lock);
	return ret;
}

int qcow2_refcount_visit(struct qcow2_refcount *rc, u64 *hclu,
			 void (*fn)(void *arg, u64 hclu, u64 count), void *arg)
{
	u64 next = (*hclu | (slice_counts(rc) - 1)) + 1;
	struct qcow2_slice *slice;
	u32 index = 0;
	int ret = 0;

	mutex_lock(&rc->lock);
	slice = count_slice(rc, *hclu, &index);
	if (IS_ERR(slice)) {
		ret = PTR_ERR(slice);
		*hclu = next;
	}
	for (; *hclu < next; (*hclu)++, index++)
		fn(arg, *hclu, slice ? get_count(rc, slice, index) : 0);
	mutex_unlock(&rc->lock);
	if (!IS_ERR_OR_NULL(slice))
		qcow2_meta_put(slice);
	return ret;
}
