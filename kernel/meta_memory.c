// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Slices and their buffers: from the slab, and from the reserve when that has nothing.
 */
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include "meta_memory.h"

#define RESERVED_SPARES	4
#define EVICT_SHORT	4	/* evicted at once for want of memory */
#define MAX_LEAVING	SZ_1M	/* or as much as the cache may have */

static struct kmem_cache *slice_cache;

int qcow2_meta_memory_module_init(void)
{
	slice_cache = KMEM_CACHE(qcow2_slice, 0);
	return slice_cache ? 0 : -ENOMEM;
}

void qcow2_meta_memory_module_exit(void)
{
	kmem_cache_destroy(slice_cache);
}

static void *slice_alloc(gfp_t gfp, void *data)
{
	const struct qcow2_meta *meta = data;
	struct qcow2_slice *slice = kmem_cache_alloc(slice_cache, gfp);

	if (!slice)
		return NULL;
	slice->data = kmalloc(qcow2_slice_size(meta->geo), gfp);
	if (slice->data)
		return slice;
	kmem_cache_free(slice_cache, slice);
	return NULL;
}

static void slice_release(void *element, void *data)
{
	struct qcow2_slice *slice = element;

	kfree(slice->data);
	kmem_cache_free(slice_cache, slice);
}

int qcow2_meta_memory_init(struct qcow2_meta *meta)
{
	unsigned int i;
	int ret;

	ret = mempool_init_kmalloc_pool(&meta->buffers, 0, qcow2_slice_size(meta->geo));
	for (i = 0; i < ARRAY_SIZE(meta->fresh) && !ret; i++)
		ret = mempool_init(&meta->fresh[i], 0, slice_alloc, slice_release, meta);
	if (ret)
		qcow2_meta_memory_exit(meta);
	return ret;
}

void qcow2_meta_memory_exit(struct qcow2_meta *meta)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(meta->fresh); i++)
		mempool_exit(&meta->fresh[i]);
	mempool_exit(&meta->buffers);
}

static mempool_t *fresh_of(struct qcow2_meta *meta, enum qcow2_slice_kind kind)
{
	return &meta->fresh[kind == QCOW2_SLICE_L2 ? 0 : 1];
}

int qcow2_meta_reserve(struct qcow2_meta *meta, bool writable)
{
	int ret = qcow2_backend_fill(fresh_of(meta, QCOW2_SLICE_L2), 1);

	if (!ret && writable)
		ret = qcow2_backend_fill(fresh_of(meta, QCOW2_SLICE_REFBLOCK), 1);
	if (!ret && writable)
		ret = qcow2_backend_fill(&meta->buffers, RESERVED_SPARES);
	return ret;
}

/* @slice as it was allocated, or as the last one left it. */
static void slice_init(struct qcow2_slice *slice, struct qcow2_meta *meta,
		       enum qcow2_slice_kind kind)
{
	__be64 *data = slice->data;

	memset(slice, 0, sizeof(*slice));
	slice->data = data;
	slice->meta = meta;
	slice->kind = kind;
	atomic_set(&slice->pins, 1);
	seqcount_spinlock_init(&slice->seq, &meta->lock);
	INIT_LIST_HEAD(&slice->dirty);
	INIT_LIST_HEAD(&slice->writing);
	INIT_LIST_HEAD(&slice->lru);
	INIT_HLIST_NODE(&slice->homeless);
	atomic64_add(qcow2_slice_bytes(slice), &meta->cache->used);
}

struct qcow2_slice *qcow2_slice_new(struct qcow2_meta *meta, enum qcow2_slice_kind kind)
{
	struct qcow2_slice *slice = slice_alloc(GFP_NOIO, meta);

	if (slice)
		slice_init(slice, meta, kind);
	return slice;
}

/* Evict what nobody uses, have written what is changed: the memory of both comes after a while. */
static void make_room(struct qcow2_meta *meta)
{
	unsigned long flags;
	int i;

	for (i = 0; i < EVICT_SHORT && qcow2_cache_evict(meta->cache); i++)
		;
	spin_lock_irqsave(&meta->lock, flags);
	if (meta->nr_dirty && meta->changed)
		meta->changed(meta, true);
	spin_unlock_irqrestore(&meta->lock, flags);
	schedule_timeout_uninterruptible(QCOW2_META_SHORT_JIFFIES);
}

static bool few_leaving(const struct qcow2_cache *cache)
{
	return atomic64_read(&cache->leaving) <= max_t(u64, cache->limit, MAX_LEAVING);
}

struct qcow2_slice *qcow2_meta_fresh(struct qcow2_meta *meta, enum qcow2_slice_kind kind,
				     bool wait)
{
	struct qcow2_slice *slice;

	might_sleep();
	/* Whoever reads table after table could evict slices faster than they can be freed. */
	wait_event_idle(meta->cache->left, few_leaving(meta->cache));
	while (atomic64_read(&meta->cache->cached) >= meta->cache->limit &&
	       qcow2_cache_evict(meta->cache))
		;
	for (;;) {
		slice = slice_alloc(QCOW2_META_GFP_TRY, meta);
		if (!slice)
			slice = mempool_alloc(fresh_of(meta, kind), QCOW2_META_GFP_RESERVE);
		if (slice || !wait)
			break;
		make_room(meta);
	}
	if (slice)
		slice_init(slice, meta, kind);
	return slice;
}

static void free_rcu_slice(struct rcu_head *rcu)
{
	struct qcow2_slice *slice = container_of(rcu, struct qcow2_slice, rcu);
	struct qcow2_meta *meta = slice->meta;
	struct qcow2_cache *cache = meta->cache;

	atomic64_sub(qcow2_slice_bytes(slice), &cache->leaving);
	if (slice->spare)
		mempool_free(slice->spare, &meta->buffers);
	mempool_free(slice, fresh_of(meta, slice->kind));
	if (few_leaving(cache))
		wake_up(&cache->left);
}

void qcow2_slice_free(struct qcow2_slice *slice)
{
	atomic64_sub(qcow2_slice_bytes(slice), &slice->meta->cache->used);
	atomic64_add(qcow2_slice_bytes(slice), &slice->meta->cache->leaving);
	call_rcu(&slice->rcu, free_rcu_slice);
}

__be64 *qcow2_meta_spare(struct qcow2_meta *meta)
{
	__be64 *buffer = kmalloc(qcow2_slice_size(meta->geo), QCOW2_META_GFP_TRY);

	return buffer ?: mempool_alloc(&meta->buffers, QCOW2_META_GFP_RESERVE);
}
