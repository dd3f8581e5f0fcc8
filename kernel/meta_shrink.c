// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * One shrinker for the caches of all devices, because reclaim asks each that
 * is registered, and there may be a thousand devices. It gives back slices that
 * nobody has pinned, which are as they are on the disk: it never writes, waits
 * for nothing, and so works whatever the reclaiming task may do.
 */
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/shrinker.h>
#include "meta_shrink.h"

#define UNIT_SHIFT	12	/* what is counted: 4 KiB */

static DEFINE_MUTEX(caches_lock);	/* never held while memory is allocated */
static LIST_HEAD(caches);		/* caches_lock: the next to lose something first */

static unsigned long shrink_count(struct shrinker *shrinker, struct shrink_control *control)
{
	struct qcow2_cache *cache;
	u64 bytes = 0;

	if (!mutex_trylock(&caches_lock))
		return 0;
	list_for_each_entry(cache, &caches, all)
		bytes += atomic64_read(&cache->cached);
	mutex_unlock(&caches_lock);
	return bytes >> UNIT_SHIFT ?: SHRINK_EMPTY;
}

/* Give back up to @wanted bytes of one cache. */
static u64 shrink_cache(struct qcow2_cache *cache, u64 wanted)
{
	u64 before = atomic64_read(&cache->cached), now = before, left = wanted >> UNIT_SHIFT;

	while (left-- && before < now + wanted && qcow2_cache_evict(cache))
		now = atomic64_read(&cache->cached);
	return before > now ? before - now : 0;
}

static unsigned long shrink_scan(struct shrinker *shrinker, struct shrink_control *control)
{
	u64 wanted = (u64)control->nr_to_scan << UNIT_SHIFT, freed = 0;
	struct qcow2_cache *cache, *first = NULL;

	if (!mutex_trylock(&caches_lock))
		return SHRINK_STOP;
	while (freed < wanted && !list_empty(&caches)) {
		cache = list_first_entry(&caches, struct qcow2_cache, all);
		if (cache == first)
			break;
		first = first ?: cache;
		freed += shrink_cache(cache, wanted - freed);
		if (freed < wanted)
			list_move_tail(&cache->all, &caches);
	}
	mutex_unlock(&caches_lock);
	return freed >> UNIT_SHIFT;
}

void qcow2_meta_shrink_pause(void)
{
	mutex_lock(&caches_lock);
}

void qcow2_meta_shrink_go_on(void)
{
	mutex_unlock(&caches_lock);
}

static struct qcow2_shrinker ours;

int qcow2_meta_shrink_init(void)
{
	return qcow2_shrinker_register(&ours, "dm-qcow2", shrink_count, shrink_scan);
}

void qcow2_meta_shrink_exit(void)
{
	qcow2_shrinker_unregister(&ours);
}

void qcow2_meta_shrink_add(struct qcow2_cache *cache)
{
	mutex_lock(&caches_lock);
	list_add_tail(&cache->all, &caches);
	mutex_unlock(&caches_lock);
}

void qcow2_meta_shrink_remove(struct qcow2_cache *cache)
{
	mutex_lock(&caches_lock);
	list_del(&cache->all);
	mutex_unlock(&caches_lock);
}
