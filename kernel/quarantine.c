// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Freed clusters on their way back to the allocator.
 */
#include <linux/interval_tree_generic.h>
#include <linux/slab.h>
#include "quarantine.h"

#define RESERVED_ENTRIES 16

static struct kmem_cache *freed_cache;

static inline u64 freed_first(const struct qcow2_freed *freed)
{
	return freed->hclu;
}

static inline u64 freed_last(const struct qcow2_freed *freed)
{
	return freed->hclu + freed->count - 1;
}

INTERVAL_TREE_DEFINE(struct qcow2_freed, node, u64, subtree_last, freed_first, freed_last,
		     static inline, freed_tree)

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
	q->claimed = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&q->pending);
	INIT_LIST_HEAD(&q->armed);
	INIT_LIST_HEAD(&q->draining);
	INIT_LIST_HEAD(&q->releasing);
	mutex_init(&q->release_lock);
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

static struct qcow2_freed *alloc(struct qcow2_quarantine *q, gfp_t gfp)
{
	struct qcow2_freed *freed = mempool_alloc(&q->pool, gfp);

	if (freed)
		RB_CLEAR_NODE(&freed->node);
	return freed;
}

struct qcow2_freed *qcow2_quarantine_alloc(struct qcow2_quarantine *q)
{
	return alloc(q, GFP_NOIO);
}

struct qcow2_freed *qcow2_quarantine_try_alloc(struct qcow2_quarantine *q)
{
	return alloc(q, GFP_NOWAIT);
}

static void __claim(struct qcow2_quarantine *q, struct qcow2_freed *freed)
{
	lockdep_assert_held(&q->lock);
	if (RB_EMPTY_NODE(&freed->node))
		freed_tree_insert(freed, &q->claimed);
}

static void __unclaim(struct qcow2_quarantine *q, struct qcow2_freed *freed)
{
	lockdep_assert_held(&q->lock);
	if (RB_EMPTY_NODE(&freed->node))
		return;
	freed_tree_remove(freed, &q->claimed);
	RB_CLEAR_NODE(&freed->node);
}

void qcow2_quarantine_unused(struct qcow2_quarantine *q, struct qcow2_freed *freed)
{
	spin_lock(&q->lock);
	__unclaim(q, freed);
	spin_unlock(&q->lock);
	mempool_free(freed, &q->pool);
}

static u64 claims_of(struct qcow2_quarantine *q, u64 hclu)
{
	struct qcow2_freed *freed;
	u64 n = 0;

	spin_lock(&q->lock);
	for (freed = freed_tree_iter_first(&q->claimed, hclu, hclu); freed;
	     freed = freed_tree_iter_next(freed, hclu, hclu))
		n++;
	spin_unlock(&q->lock);
	return n;
}

/* Does each count of @freed cover the claims of its cluster, and @more? */
static int is_covered(struct qcow2_quarantine *q, const struct qcow2_freed *freed, u64 more)
{
	u64 i, claims, count;
	int ret;

	for (i = 0; i < freed->count; i++) {
		claims = claims_of(q, freed->hclu + i);
		ret = qcow2_refcount_count(q->rc, freed->hclu + i, &count);
		if (ret)
			return ret;
		if (count < claims || count - claims < more)
			return -EUCLEAN;
	}
	return 0;
}

int qcow2_quarantine_claim(struct qcow2_quarantine *q, struct qcow2_freed *freed, u64 more)
{
	int ret;

	spin_lock(&q->lock);
	__claim(q, freed);
	spin_unlock(&q->lock);
	ret = is_covered(q, freed, more);
	if (ret != -EUCLEAN)
		return ret;
	/* What is just being released has left its count and is still claimed. */
	mutex_lock(&q->release_lock);
	ret = is_covered(q, freed, more);
	mutex_unlock(&q->release_lock);
	return ret;
}

/* Does @freed follow the last pending run, for the same commit? */
static bool __merge(struct qcow2_quarantine *q, struct qcow2_freed *freed)
{
	struct qcow2_freed *last;

	lockdep_assert_held(&q->lock);
	if (list_empty(&q->pending))
		return false;
	last = list_last_entry(&q->pending, struct qcow2_freed, list);
	if (last->number != freed->number || last->hclu + last->count != freed->hclu)
		return false;
	__unclaim(q, freed);
	__unclaim(q, last);
	last->count += freed->count;
	__claim(q, last);
	return true;
}

void qcow2_quarantine_add(struct qcow2_quarantine *q, struct qcow2_freed *freed)
{
	bool merged;

	spin_lock(&q->lock);
	WRITE_ONCE(q->clusters, q->clusters + freed->count);
	merged = __merge(q, freed);
	if (!merged) {
		__claim(q, freed);
		list_add_tail(&freed->list, &q->pending);
	}
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

static struct qcow2_freed *first_to_release(struct qcow2_quarantine *q)
{
	struct qcow2_freed *freed;

	spin_lock(&q->lock);
	freed = list_first_entry_or_null(&q->releasing, struct qcow2_freed, list);
	spin_unlock(&q->lock);
	return freed;
}

/*
 * An entry stays on the list until its counts are lowered: it is in quarantine until then. True:
 * there were some.
 */
static bool release(struct qcow2_quarantine *q)
{
	struct qcow2_freed *freed;
	bool any = false;
	u64 i;

	mutex_lock(&q->release_lock);
	while ((freed = first_to_release(q))) {
		if (q->punch)
			punch_last_references(q, freed->hclu, freed->count);
		for (i = 0; i < freed->count; i++) {
			if (qcow2_refcount_drop(q->rc, freed->hclu + i) == -EUCLEAN)
				atomic64_inc(&q->uncounted);
		}
		spin_lock(&q->lock);
		WRITE_ONCE(q->clusters, q->clusters - freed->count);
		list_del(&freed->list);
		__unclaim(q, freed);
		spin_unlock(&q->lock);
		mempool_free(freed, &q->pool);
		any = true;
		cond_resched();
	}
	mutex_unlock(&q->release_lock);
	return any;
}

bool qcow2_quarantine_drained(struct qcow2_quarantine *q)
{
	bool any;

	spin_lock(&q->lock);
	list_splice_tail_init(&q->draining, &q->releasing);
	spin_unlock(&q->lock);
	any = release(q);
	kick(q);
	return any;
}

void qcow2_quarantine_flush(struct qcow2_quarantine *q)
{
	bool empty;

	spin_lock(&q->lock);
	empty = !q->clusters;
	spin_unlock(&q->lock);
	/*
	 * What is empty has nothing that somebody inside could see: a drain,
	 * with its RCU grace period, would wait for nobody. The end of a flip
	 * that has just released the last entry is still waited for: it tells
	 * of counts that were 0.
	 */
	if (empty) {
		qcow2_epoch_wait(q->epoch);
		return;
	}
	qcow2_epoch_drain(q->epoch);
	spin_lock(&q->lock);
	__arm(q);
	list_splice_tail_init(&q->draining, &q->releasing);
	list_splice_tail_init(&q->armed, &q->releasing);
	spin_unlock(&q->lock);
	release(q);
}

void qcow2_quarantine_watch(struct qcow2_quarantine *q, struct qcow2_watch *watch)
{
	struct list_head *lists[] = { &q->pending, &q->armed, &q->draining, &q->releasing };
	struct qcow2_freed *freed;
	int i;

	spin_lock(&q->lock);
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		list_for_each_entry(freed, lists[i], list)
			qcow2_watch_mark(watch, freed->hclu, freed->count);
	}
	spin_unlock(&q->lock);
}

void qcow2_quarantine_forget(struct qcow2_quarantine *q)
{
	struct qcow2_freed *freed, *next;
	LIST_HEAD(list);

	spin_lock(&q->lock);
	list_splice_init(&q->pending, &list);
	list_splice_tail_init(&q->armed, &list);
	list_splice_tail_init(&q->draining, &list);
	list_splice_tail_init(&q->releasing, &list);
	WRITE_ONCE(q->clusters, 0);
	list_for_each_entry(freed, &list, list)
		__unclaim(q, freed);
	spin_unlock(&q->lock);
	list_for_each_entry_safe(freed, next, &list, list)
		mempool_free(freed, &q->pool);
}

