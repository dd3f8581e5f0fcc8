// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Freed clusters on their way back to the allocator.
 */
#include <linux/slab.h>
#include "quarantine.h"

#define RESERVED_ENTRIES 16

static struct kmem_cache *freed_cache;

int qcow2_quarantine_module_init(void)
{
	freed_cache = KMEM_CACHE(qcow2_freed, 0);
	return freed_cache ? 0 : -ENOMEM;
}

void qcow2_quarantine_module_exit(void)
{
	kmem_cache_destroy(freed_cache);
}

int qcow2_quarantine_init(struct qcow2_quarantine *q, struct qcow2_refcount *rc,
			  struct qcow2_epoch *epoch, bool punch)
{
	q->rc = rc;
	q->epoch = epoch;
	q->punch = punch;
	spin_lock_init(&q->lock);
	INIT_LIST_HEAD(&q->pending);
	INIT_LIST_HEAD(&q->armed);
	INIT_LIST_HEAD(&q->draining);
	q->clusters = 0;
	q->durable = 0;
	atomic64_set(&q->uncounted, 0);
	return mempool_init_slab_pool(&q->pool, RESERVED_ENTRIES, freed_cache);
}

void qcow2_quarantine_exit(struct qcow2_quarantine *q)
{
	qcow2_quarantine_forget(q);
	mempool_exit(&q->pool);
}

struct qcow2_freed *qcow2_quarantine_alloc(struct qcow2_quarantine *q)
{
	return mempool_alloc(&q->pool, GFP_NOIO);
}

void qcow2_quarantine_unused(struct qcow2_quarantine *q, struct qcow2_freed *freed)
{
	mempool_free(freed, &q->pool);
}

/* Does @freed follow the last pending run, for the same commit? */
static bool __merge(struct qcow2_quarantine *q, const struct qcow2_freed *freed)
{
	struct qcow2_freed *last;

	lockdep_assert_held(&q->lock);
	if (list_empty(&q->pending))
		return false;
	last = list_last_entry(&q->pending, struct qcow2_freed, list);
	if (last->number != freed->number || last->hclu + last->count != freed->hclu)
		return false;
	last->count += freed->count;
	return true;
}

void qcow2_quarantine_add(struct qcow2_quarantine *q, struct qcow2_freed *freed)
{
	bool merged;

	spin_lock(&q->lock);
	q->clusters += freed->count;
	merged = __merge(q, freed);
	if (!merged)
		list_add_tail(&freed->list, &q->pending);
	spin_unlock(&q->lock);
	if (merged)
		mempool_free(freed, &q->pool);
}

/* Start a flip for what is armed; the flip that runs now may be too early for it. */
static void kick(struct qcow2_quarantine *q)
{
	bool armed;

	spin_lock(&q->lock);
	armed = !list_empty(&q->armed) && list_empty(&q->draining);
	if (armed)
		list_splice_tail_init(&q->armed, &q->draining);
	spin_unlock(&q->lock);
	if (!armed || qcow2_epoch_flip(q->epoch))
		return;
	/* A flip was running: its end calls us again. */
	spin_lock(&q->lock);
	list_splice_init(&q->draining, &q->armed);
	spin_unlock(&q->lock);
}

static void __arm(struct qcow2_quarantine *q)
{
	struct qcow2_freed *freed, *next;

	lockdep_assert_held(&q->lock);
	list_for_each_entry_safe(freed, next, &q->pending, list) {
		if (freed->number <= q->durable)
			list_move_tail(&freed->list, &q->armed);
	}
}

void qcow2_quarantine_commit(struct qcow2_quarantine *q, u64 durable)
{
	spin_lock(&q->lock);
	q->durable = durable;
	__arm(q);
	spin_unlock(&q->lock);
	kick(q);
}

/* Punch those clusters of [@hclu, @hclu + @count) that have one reference left. */
static void punch_last_references(struct qcow2_quarantine *q, u64 hclu, u64 count)
{
	const struct qcow2_geometry *geo = q->rc->geo;
	u64 end = hclu + count, first = hclu, refs;

	for (; hclu <= end; hclu++) {
		if (hclu < end && !qcow2_refcount_count(q->rc, hclu, &refs) && refs == 1)
			continue;
		if (hclu > first)
			qcow2_backend_punch(q->rc->meta->backend, qcow2_to_off(geo, first),
					    qcow2_to_off(geo, hclu - first));
		first = hclu + 1;
	}
}

static void release(struct qcow2_quarantine *q, struct list_head *list)
{
	struct qcow2_freed *freed, *next;
	u64 i;

	list_for_each_entry_safe(freed, next, list, list) {
		if (q->punch)
			punch_last_references(q, freed->hclu, freed->count);
		for (i = 0; i < freed->count; i++) {
			if (qcow2_refcount_drop(q->rc, freed->hclu + i) == -EUCLEAN)
				atomic64_inc(&q->uncounted);
		}
		spin_lock(&q->lock);
		q->clusters -= freed->count;
		spin_unlock(&q->lock);
		list_del(&freed->list);
		mempool_free(freed, &q->pool);
		cond_resched();
	}
}

void qcow2_quarantine_drained(struct qcow2_quarantine *q)
{
	LIST_HEAD(list);

	spin_lock(&q->lock);
	list_splice_init(&q->draining, &list);
	spin_unlock(&q->lock);
	release(q, &list);
	kick(q);
}

void qcow2_quarantine_flush(struct qcow2_quarantine *q)
{
	LIST_HEAD(list);

	qcow2_epoch_drain(q->epoch);
	spin_lock(&q->lock);
	__arm(q);
	list_splice_init(&q->draining, &list);
	list_splice_tail_init(&q->armed, &list);
	spin_unlock(&q->lock);
	release(q, &list);
}

void qcow2_quarantine_forget(struct qcow2_quarantine *q)
{
	struct qcow2_freed *freed, *next;
	LIST_HEAD(list);

	spin_lock(&q->lock);
	list_splice_init(&q->pending, &list);
	list_splice_tail_init(&q->armed, &list);
	list_splice_tail_init(&q->draining, &list);
	q->clusters = 0;
	spin_unlock(&q->lock);
	list_for_each_entry_safe(freed, next, &list, list)
		mempool_free(freed, &q->pool);
}

