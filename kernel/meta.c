// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The bounded cache of metadata slices, and the lists of what was changed.
 */
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/string.h>
#include "meta_memory.h"
#include "meta_shrink.h"

#define EVICT_SCAN	128	/* slices looked at for one that goes */

int qcow2_meta_module_init(void)
{
	int ret = qcow2_meta_memory_module_init();

	if (ret)
		return ret;
	ret = qcow2_meta_shrink_init();
	if (ret)
		qcow2_meta_memory_module_exit();
	return ret;
}

void qcow2_meta_module_exit(void)
{
	qcow2_meta_shrink_exit();
	rcu_barrier();
	qcow2_meta_memory_module_exit();
}

void qcow2_cache_init(struct qcow2_cache *cache, u64 limit,
		      struct qcow2_stats __percpu *stats)
{
	spin_lock_init(&cache->lock);
	INIT_LIST_HEAD(&cache->lru);
	atomic64_set(&cache->used, 0);
	atomic64_set(&cache->cached, 0);
	atomic64_set(&cache->leaving, 0);
	init_waitqueue_head(&cache->left);
	cache->limit = limit;
	cache->stats = stats;
	qcow2_meta_shrink_add(cache);
}

void qcow2_cache_exit(struct qcow2_cache *cache)
{
	if (cache->stats)
		qcow2_meta_shrink_remove(cache);
}

int qcow2_meta_init(struct qcow2_meta *meta, const struct qcow2_geometry *geo,
		    struct qcow2_backend *backend, struct qcow2_cache *cache,
		    void (*changed)(struct qcow2_meta *meta, bool now))
{
	meta->geo = geo;
	meta->backend = backend;
	meta->cache = cache;
	meta->changed = changed;
	xa_init_flags(&meta->slices, XA_FLAGS_LOCK_IRQ);	/* taken under meta->lock */
	INIT_HLIST_HEAD(&meta->homeless);
	spin_lock_init(&meta->lock);
	INIT_LIST_HEAD(&meta->dirty);
	INIT_LIST_HEAD(&meta->writing);
	INIT_LIST_HEAD(&meta->loads);
	meta->nr_dirty = 0;
	meta->staged = 1;
	meta->written = 0;
	meta->durable = 0;
	return qcow2_meta_memory_init(meta);
}

void qcow2_meta_exit(struct qcow2_meta *meta)
{
	rcu_barrier();
	xa_destroy(&meta->slices);
	qcow2_meta_memory_exit(meta);
}

static unsigned long slice_key(const struct qcow2_meta *meta, u64 hoff)
{
	return hoff >> meta->geo->slice_bits;
}

void qcow2_meta_pin(struct qcow2_slice *slice)
{
	atomic_inc(&slice->pins);
}

void qcow2_meta_put(struct qcow2_slice *slice)
{
	if (atomic_dec_and_test(&slice->pins))
		qcow2_slice_free(slice);
}

/*
 * A slice that is being read from the image. Whoever reads it too may be done first, change it, see
 * it written and evicted: then what this read brings may be older than what is on the disk.
 */
struct load {
	struct list_head list;		/* M: on meta->loads */
	unsigned long key;
	bool is_old;			/* M */
};

static void load_begin(struct qcow2_meta *meta, struct load *load, unsigned long key)
{
	unsigned long flags;

	load->key = key;
	load->is_old = false;
	spin_lock_irqsave(&meta->lock, flags);
	list_add(&load->list, &meta->loads);
	spin_unlock_irqrestore(&meta->lock, flags);
}

static bool __load_end(struct qcow2_meta *meta, struct load *load)
{
	lockdep_assert_held(&meta->lock);
	list_del(&load->list);
	return load->is_old;
}

static void __loads_are_old(struct qcow2_meta *meta, unsigned long key)
{
	struct load *load;

	lockdep_assert_held(&meta->lock);
	list_for_each_entry(load, &meta->loads, list) {
		if (load->key == key)
			load->is_old = true;
	}
}

/* Remove @slice from the cache; the caller has made sure that nobody else does. */
static void slice_erase(struct qcow2_slice *slice)
{
	struct qcow2_meta *meta = slice->meta;
	unsigned long key = slice_key(meta, slice->hoff), flags;

	spin_lock_irqsave(&meta->lock, flags);
	if (slice->changed)
		__loads_are_old(meta, key);
	xa_lock(&meta->slices);
	if (xa_load(&meta->slices, key) == slice)
		__xa_erase(&meta->slices, key);
	xa_unlock(&meta->slices);
	if (!hlist_unhashed(&slice->homeless))
		hlist_del_init_rcu(&slice->homeless);
	spin_unlock_irqrestore(&meta->lock, flags);
}

/* A changed slice is pinned by its list. */
bool qcow2_cache_evict(struct qcow2_cache *cache)
{
	struct qcow2_slice *slice, *victim = NULL;
	unsigned long flags;
	int scan;

	spin_lock_irqsave(&cache->lock, flags);
	for (scan = 0; scan < EVICT_SCAN && !list_empty(&cache->lru); scan++) {
		slice = list_last_entry(&cache->lru, struct qcow2_slice, lru);
		if (!READ_ONCE(slice->referenced) &&
		    atomic_cmpxchg(&slice->pins, 1, 0) == 1) {
			list_del_init(&slice->lru);
			atomic64_sub(qcow2_slice_bytes(slice), &cache->cached);
			victim = slice;
			break;
		}
		WRITE_ONCE(slice->referenced, false);
		list_move(&slice->lru, &cache->lru);
	}
	spin_unlock_irqrestore(&cache->lock, flags);
	if (!victim)
		return false;
	slice_erase(victim);
	qcow2_slice_free(victim);
	return true;
}

struct qcow2_slice *qcow2_meta_load(struct qcow2_meta *meta, u64 hoff,
				    enum qcow2_slice_kind kind, const void *content)
{
	u32 size = qcow2_slice_size(meta->geo);
	struct qcow2_slice *slice;
	int ret = 0;

	if (kind == QCOW2_SLICE_REFBLOCK)
		slice = qcow2_meta_fresh(meta, kind, true);
	else
		slice = qcow2_slice_new(meta, kind);
	if (!slice)
		return ERR_PTR(-ENOMEM);
	slice->hoff = hoff;
	if (content)
		memcpy(slice->data, content, size);
	else if (kind == QCOW2_SLICE_REFTABLE)	/* may be shorter: the rest names no blocks */
		ret = qcow2_backend_read(meta->backend, hoff, slice->data, size);
	else
		ret = qcow2_backend_read_table(meta->backend, hoff, slice->data, size,
					       meta->geo->cluster_size);
	if (ret) {
		qcow2_meta_put(slice);
		return ERR_PTR(ret);
	}
	return slice;
}

/* Slices of a table that are read together. */
#define TABLE_READ	(32 << 10)

/* The slices of the @nr bytes at @data, which are those at @hoff of a table. */
static int load_slices(struct qcow2_meta *meta, u64 hoff, enum qcow2_slice_kind kind,
		       const void *data, struct qcow2_slice **slices, u32 nr)
{
	u32 size = qcow2_slice_size(meta->geo), i;
	struct qcow2_slice *slice;

	for (i = 0; i < nr; i++, data += size) {
		if (kind == QCOW2_SLICE_REFTABLE && !memchr_inv(data, 0, size))
			continue;
		slice = qcow2_meta_load(meta, hoff + (u64)i * size, kind, data);
		if (IS_ERR(slice))
			return PTR_ERR(slice);
		slices[i] = slice;
	}
	return 0;
}

int qcow2_meta_load_table(struct qcow2_meta *meta, u64 hoff, enum qcow2_slice_kind kind,
			  struct qcow2_slice **slices, u32 nr)
{
	u32 size = qcow2_slice_size(meta->geo), at, part = TABLE_READ / size;
	void *buffer = kmalloc(TABLE_READ, GFP_NOIO);
	int ret = buffer ? 0 : -ENOMEM;

	for (at = 0; at < nr && !ret; at += part) {
		part = min(part, nr - at);
		ret = qcow2_backend_read(meta->backend, hoff + (u64)at * size, buffer, part * size);
		if (!ret)
			ret = load_slices(meta, hoff + (u64)at * size, kind, buffer, slices + at,
					  part);
		cond_resched();
	}
	kfree(buffer);
	if (ret)
		qcow2_meta_put_table(slices, nr);
	return ret;
}

void qcow2_meta_put_table(struct qcow2_slice **slices, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++) {
		if (slices[i])
			qcow2_meta_put(slices[i]);
		slices[i] = NULL;
	}
}

/* Apart, so that who finds his slice in the xarray pays nothing for it. */
static noinline struct qcow2_slice *find_homeless(struct xarray *slices, unsigned long key)
{
	struct qcow2_meta *meta = container_of(slices, struct qcow2_meta, slices);
	struct qcow2_slice *slice;

	hlist_for_each_entry_rcu(slice, &meta->homeless, homeless,
				 lockdep_is_held(&meta->lock)) {
		if (slice_key(meta, slice->hoff) == key)
			return slice;
	}
	return NULL;
}

struct qcow2_slice *qcow2_meta_peek(struct qcow2_meta *meta, u64 hoff)
{
	XA_STATE(xas, &meta->slices, slice_key(meta, hoff));
	struct qcow2_slice *slice;

	/* xa_load() without a second RCU section; a reserved place is nothing. */
	do {
		slice = xas_load(&xas);
		if (xa_is_zero(slice))
			slice = NULL;
	} while (xas_retry(&xas, slice));
	if (unlikely(!slice))
		return find_homeless(xas.xa, xas.xa_index);
	if (!READ_ONCE(slice->referenced))
		WRITE_ONCE(slice->referenced, true);
	return slice;
}

struct qcow2_slice *qcow2_meta_find(struct qcow2_meta *meta, u64 hoff)
{
	struct qcow2_slice *slice;

	rcu_read_lock();
	slice = qcow2_meta_peek(meta, hoff);
	if (slice && !atomic_inc_not_zero(&slice->pins))
		slice = NULL;
	rcu_read_unlock();
	return slice;
}

/* Put @slice into the cache, or give the one that came first. Under meta->lock. */
static struct qcow2_slice *__meta_insert(struct qcow2_meta *meta,
					 struct qcow2_slice *slice)
{
	unsigned long key = slice_key(meta, slice->hoff);
	struct qcow2_cache *cache = meta->cache;
	struct qcow2_slice *old;

	lockdep_assert_held(&meta->lock);
	old = xa_load(&meta->slices, key) ?: find_homeless(&meta->slices, key);
	/* One that is just being evicted may have been written since @slice was read. */
	if (old)
		return atomic_inc_not_zero(&old->pins) ? old : ERR_PTR(-EAGAIN);
	/* If it was here before, its words may be in a commit that is written and not durable. */
	slice->number = meta->written;
	xa_lock(&meta->slices);
	old = __xa_store(&meta->slices, key, slice, QCOW2_META_GFP_RESERVE);
	xa_unlock(&meta->slices);
	if (xa_is_err(old))
		hlist_add_head_rcu(&slice->homeless, &meta->homeless);
	atomic_inc(&slice->pins);
	spin_lock(&cache->lock);
	list_add(&slice->lru, &cache->lru);
	atomic64_add(qcow2_slice_bytes(slice), &cache->cached);
	spin_unlock(&cache->lock);
	return slice;
}

struct qcow2_slice *qcow2_meta_read(struct qcow2_meta *meta, u64 hoff,
				    struct qcow2_slice **fresh,
				    bool (*valid)(void *arg), void *arg)
{
	struct qcow2_slice *slice, *got;
	unsigned long key = slice_key(meta, hoff);
	unsigned long flags;
	struct load load;
	bool has_place, is_old;
	int ret;

	got = qcow2_meta_find(meta, hoff);
	if (got) {
		qcow2_stat_inc(meta->cache->stats, QCOW2_STAT_HITS);
		return got;
	}
	if (!*fresh)
		return NULL;
	slice = *fresh;
	*fresh = NULL;
	slice->hoff = hoff;
	qcow2_stat_inc(meta->cache->stats, QCOW2_STAT_MISSES);
	load_begin(meta, &load, key);
	ret = qcow2_backend_read_table(meta->backend, hoff, slice->data,
				       qcow2_slice_size(meta->geo), meta->geo->cluster_size);
	has_place = !ret && !xa_reserve_irq(&meta->slices, key, QCOW2_META_GFP_TRY);
	spin_lock_irqsave(&meta->lock, flags);
	is_old = __load_end(meta, &load);
	if (ret)
		got = ERR_PTR(ret);
	else if (is_old || (valid && !valid(arg)))
		got = ERR_PTR(-EAGAIN);
	else
		got = __meta_insert(meta, slice);
	spin_unlock_irqrestore(&meta->lock, flags);
	if (has_place)
		xa_cmpxchg_irq(&meta->slices, key, XA_ZERO_ENTRY, NULL, 0); /* if it is not used */
	if (got != slice)
		qcow2_meta_put(slice);
	return got;
}

struct qcow2_slice *qcow2_meta_get(struct qcow2_meta *meta, u64 hoff,
				   enum qcow2_slice_kind kind)
{
	struct qcow2_slice *fresh = NULL, *slice;

	do {
		slice = qcow2_meta_read(meta, hoff, &fresh, NULL, NULL);
		if (!slice)
			fresh = qcow2_meta_fresh(meta, kind, true);
	} while (!slice || slice == ERR_PTR(-EAGAIN));
	if (fresh)
		qcow2_meta_put(fresh);
	return slice;
}

/* Take @slice, on which the caller has a pin, out of the cache. */
static void slice_drop(struct qcow2_slice *slice)
{
	struct qcow2_cache *cache = slice->meta->cache;
	unsigned long flags;
	bool resident;

	spin_lock_irqsave(&cache->lock, flags);
	resident = !list_empty(&slice->lru);
	list_del_init(&slice->lru);
	if (resident)
		atomic64_sub(qcow2_slice_bytes(slice), &cache->cached);
	spin_unlock_irqrestore(&cache->lock, flags);
	slice_erase(slice);
	if (resident)
		qcow2_meta_put(slice);
}

void qcow2_meta_forget(struct qcow2_meta *meta, u64 hoff)
{
	u64 end = hoff + meta->geo->cluster_size;
	struct qcow2_slice *slice;

	for (; hoff < end; hoff += qcow2_slice_size(meta->geo)) {
		slice = qcow2_meta_find(meta, hoff);
		if (slice) {
			slice_drop(slice);
			qcow2_meta_put(slice);
		}
	}
}

void qcow2_meta_abandon(struct qcow2_slice *slice)
{
	struct qcow2_meta *meta = slice->meta;
	unsigned long flags;
	bool listed;

	spin_lock_irqsave(&meta->lock, flags);
	listed = !list_empty(&slice->dirty);
	if (listed) {
		list_del_init(&slice->dirty);
		WRITE_ONCE(meta->nr_dirty, meta->nr_dirty - 1);
	}
	spin_unlock_irqrestore(&meta->lock, flags);
	if (listed)
		qcow2_meta_put(slice);
}

/* Drop a cached slice that nobody else uses. */
static void drop_unused(struct qcow2_slice *slice)
{
	qcow2_meta_pin(slice);
	slice_drop(slice);
	qcow2_meta_put(slice);
	cond_resched();
}

void qcow2_meta_drop_all(struct qcow2_meta *meta)
{
	struct qcow2_slice *slice, *next;
	struct hlist_node *after;
	unsigned long key;

	qcow2_meta_thaw(meta, meta->written);
	list_for_each_entry_safe(slice, next, &meta->dirty, dirty)
		qcow2_meta_abandon(slice);
	/* What the shrinker is about to free must not be found, and be freed twice. */
	qcow2_meta_shrink_pause();
	xa_for_each(&meta->slices, key, slice)
		drop_unused(slice);
	hlist_for_each_entry_safe(slice, after, &meta->homeless, homeless)
		drop_unused(slice);
	qcow2_meta_shrink_go_on();
}

/*
 * A frozen slice that was changed already wants none: the frozen buffer
 * becomes its spare when the commit ends.
 */
static bool __slice_wants_spare(const struct qcow2_slice *slice)
{
	lockdep_assert_held(&slice->meta->lock);
	return !slice->spare && (!slice->frozen || slice->frozen == slice->data);
}

/* Give @slice a spare if it wants one; false: there is no memory. */
static bool slice_prepare(struct qcow2_slice *slice)
{
	struct qcow2_meta *meta = slice->meta;
	unsigned long flags;
	__be64 *buffer;

	if (READ_ONCE(slice->spare))
		return true;
	buffer = qcow2_meta_spare(meta);
	if (!buffer)
		return false;
	spin_lock_irqsave(&meta->lock, flags);
	if (__slice_wants_spare(slice)) {
		WRITE_ONCE(slice->spare, buffer);
		buffer = NULL;
	}
	spin_unlock_irqrestore(&meta->lock, flags);
	if (buffer)
		mempool_free(buffer, &meta->buffers);
	return true;
}

/*
 * Move the content of a frozen slice into its spare. Word by word: a slow
 * reader may still look at the spare, which was this slice's content before
 * the last commit; it then sees a word of one version or the other.
 */
static void __slice_thaw_copy(struct qcow2_slice *slice)
{
	u32 words = qcow2_slice_size(slice->meta->geo) / sizeof(__be64);
	__be64 *to = slice->spare;
	u32 i;

	for (i = 0; i < words; i++)
		WRITE_ONCE(to[i], slice->data[i]);
	WRITE_ONCE(slice->spare, NULL);
	/* Readers under RCU see the words before they see the buffer. */
	smp_store_release(&slice->data, to);
}

static bool __slice_change(struct qcow2_slice *slice)
{
	struct qcow2_meta *meta = slice->meta;

	lockdep_assert_held(&meta->lock);
	if (slice->frozen == slice->data) {
		if (!slice->spare)
			return false;
		__slice_thaw_copy(slice);
	}
	if (list_empty(&slice->dirty)) {
		list_add_tail(&slice->dirty, &meta->dirty);
		qcow2_meta_pin(slice);
		WRITE_ONCE(meta->nr_dirty, meta->nr_dirty + 1);
		if (meta->changed)
			meta->changed(meta, false);
	}
	slice->changed = true;
	WRITE_ONCE(slice->number, meta->staged);
	smp_wmb();	/* pairs with qcow2_slice_number(): the change comes behind it */
	return true;
}

unsigned long qcow2_meta_change(struct qcow2_slice *slice)
	__acquires(&slice->meta->lock)
{
	unsigned long flags;
	bool prepared;

	for (;;) {
		prepared = slice_prepare(slice);
		spin_lock_irqsave(&slice->meta->lock, flags);
		if (__slice_change(slice))
			return flags;
		spin_unlock_irqrestore(&slice->meta->lock, flags);
		/* The commit that writes it goes on without memory, and then it wants no spare. */
		if (!prepared)
			schedule_timeout_uninterruptible(QCOW2_META_SHORT_JIFFIES);
	}
}

u64 __qcow2_meta_freeze(struct qcow2_meta *meta)
{
	struct qcow2_slice *slice, *next;

	lockdep_assert_held(&meta->lock);
	list_for_each_entry_safe(slice, next, &meta->dirty, dirty) {
		list_del_init(&slice->dirty);
		list_add_tail(&slice->writing, &meta->writing);
		slice->frozen = slice->data;
	}
	return meta->staged++;
}

void qcow2_meta_thaw(struct qcow2_meta *meta, u64 number)
{
	struct qcow2_slice *slice, *next;
	LIST_HEAD(done);
	unsigned long flags;

	spin_lock_irqsave(&meta->lock, flags);
	meta->written = number;
	list_for_each_entry(slice, &meta->writing, writing) {
		if (slice->frozen != slice->data)
			WRITE_ONCE(slice->spare, slice->frozen);
		slice->frozen = NULL;
		WRITE_ONCE(meta->nr_dirty, meta->nr_dirty - 1);
	}
	list_splice_init(&meta->writing, &done);
	spin_unlock_irqrestore(&meta->lock, flags);
	list_for_each_entry_safe(slice, next, &done, writing) {
		list_del_init(&slice->writing);
		qcow2_meta_put(slice);
	}
}

int qcow2_meta_format(struct qcow2_meta *meta, u64 hoff, bool zeroed)
{
	if (zeroed)
		return 0;
	return qcow2_backend_zero(meta->backend, hoff, meta->geo->cluster_size);
}
