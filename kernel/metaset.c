// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The set of metadata clusters: an open hash that readers walk under RCU, and
 * ranges that do not change.
 */
#include <linux/bits.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include "metaset.h"

#define SLOT_EMPTY	0ULL		/* stored value is hclu + 2 */
#define SLOT_REMOVED	1ULL
#define SLOT_SHARED	BIT_ULL(63)	/* by qcow2_metaset_share(); host clusters are below 2^47 */
#define MIN_BITS	6

struct qcow2_metaset_table {
	struct rcu_head rcu;
	u64 factor;			/* odd, and unknown to who made the image */
	u32 bits;
	u64 filled;			/* slots that are not empty */
	u64 live;
	u64 slots[];
};

void qcow2_metaset_init(struct qcow2_metaset *set)
{
	mutex_init(&set->lock);
	RCU_INIT_POINTER(set->table, NULL);
	set->fixed = NULL;
	set->nr_fixed = 0;
}

void qcow2_metaset_clear(struct qcow2_metaset *set)
{
	struct qcow2_metaset_table *table;

	mutex_lock(&set->lock);
	table = rcu_replace_pointer(set->table, NULL, lockdep_is_held(&set->lock));
	mutex_unlock(&set->lock);
	if (table)
		kvfree_rcu(table, rcu);
	kvfree(set->fixed);
	set->fixed = NULL;
	set->nr_fixed = 0;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct qcow2_metaset_range *left = a, *right = b;

	return left->first < right->first ? -1 : left->first > right->first;
}

int qcow2_metaset_fix(struct qcow2_metaset *set, struct qcow2_metaset_range *ranges, u32 nr)
{
	u32 i, last = 0;
	int ret = 0;

	sort(ranges, nr, sizeof(*ranges), compare_ranges, NULL);
	/* Those that overlap become one, so that a search is right. */
	for (i = 1; i < nr; i++) {
		if (ranges[i].first >= ranges[last].end) {
			ranges[++last] = ranges[i];
			continue;
		}
		ranges[last].end = max(ranges[last].end, ranges[i].end);
		ret = -EEXIST;
	}
	set->fixed = ranges;
	set->nr_fixed = nr ? last + 1 : 0;
	return ret;
}

static bool is_fixed(const struct qcow2_metaset *set, u64 hclu)
{
	u32 low = 0, high = set->nr_fixed, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (hclu >= set->fixed[middle].end)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->nr_fixed && hclu >= set->fixed[low].first;
}

/*
 * Where to look first. An image whose clusters all had one place would make each look a walk over
 * all of them, so the factor is drawn by lot: then no two values collide but by chance.
 */
static u64 table_slot(const struct qcow2_metaset_table *table, u64 value)
{
	return value * table->factor >> (64 - table->bits);
}

static void table_put(struct qcow2_metaset_table *table, u64 value)
{
	u64 mask = (1ULL << table->bits) - 1;
	u64 i = table_slot(table, value & ~SLOT_SHARED);

	while (table->slots[i] != SLOT_EMPTY)
		i = (i + 1) & mask;
	/* A reader that misses the new slot started before the add ended. */
	WRITE_ONCE(table->slots[i], value);
	table->filled++;
	table->live++;
}

static u64 *table_find(const struct qcow2_metaset_table *table, u64 value)
{
	u64 mask = (1ULL << table->bits) - 1;
	u64 i = table_slot(table, value);
	u64 found;

	while ((found = READ_ONCE(table->slots[i])) != SLOT_EMPTY) {
		if ((found & ~SLOT_SHARED) == value)
			return (u64 *)&table->slots[i];
		i = (i + 1) & mask;
	}
	return NULL;
}

/* Make room so that at most half of the slots are filled. */
static int __metaset_grow(struct qcow2_metaset *set, u64 more)
{
	struct qcow2_metaset_table *old, *new;
	u64 want, i;
	u32 bits;

	lockdep_assert_held(&set->lock);
	old = rcu_dereference_protected(set->table, lockdep_is_held(&set->lock));
	if (old && (old->filled + more) * 2 <= 1ULL << old->bits)
		return 0;
	want = ((old ? old->live : 0) + more) * 2 + 1;
	bits = max_t(u32, MIN_BITS, ilog2(want) + 1);
	new = kvzalloc(struct_size(new, slots, 1ULL << bits), GFP_NOIO);
	if (!new)
		return -ENOMEM;
	new->bits = bits;
	new->factor = get_random_u64() | 1;
	for (i = 0; old && i < 1ULL << old->bits; i++) {
		if (old->slots[i] > SLOT_REMOVED)
			table_put(new, old->slots[i]);
	}
	rcu_assign_pointer(set->table, new);
	if (old)
		kvfree_rcu(old, rcu);
	return 0;
}

int qcow2_metaset_reserve(struct qcow2_metaset *set, u64 more)
{
	int ret;

	mutex_lock(&set->lock);
	ret = __metaset_grow(set, more);
	mutex_unlock(&set->lock);
	return ret;
}

static int metaset_put(struct qcow2_metaset *set, u64 hclu, u64 flag)
{
	struct qcow2_metaset_table *table;
	u64 *slot;
	int ret;

	mutex_lock(&set->lock);
	ret = __metaset_grow(set, 1);
	if (!ret) {
		table = rcu_dereference_protected(set->table,
						  lockdep_is_held(&set->lock));
		slot = table_find(table, hclu + 2);
		if (slot)
			ret = *slot & flag ? 1 : -EEXIST;
		else if (is_fixed(set, hclu))
			ret = -EEXIST;
		else
			table_put(table, (hclu + 2) | flag);
	}
	mutex_unlock(&set->lock);
	return ret;
}

int qcow2_metaset_add(struct qcow2_metaset *set, u64 hclu)
{
	return metaset_put(set, hclu, 0);
}

int qcow2_metaset_share(struct qcow2_metaset *set, u64 hclu)
{
	return metaset_put(set, hclu, SLOT_SHARED);
}

void qcow2_metaset_remove(struct qcow2_metaset *set, u64 hclu)
{
	struct qcow2_metaset_table *table;
	u64 *slot;

	mutex_lock(&set->lock);
	table = rcu_dereference_protected(set->table, lockdep_is_held(&set->lock));
	slot = table ? table_find(table, hclu + 2) : NULL;
	if (slot) {
		WRITE_ONCE(*slot, SLOT_REMOVED);
		table->live--;
	}
	mutex_unlock(&set->lock);
}

bool __qcow2_metaset_contains(const struct qcow2_metaset *set, u64 hclu)
{
	const struct qcow2_metaset_table *table = rcu_dereference(set->table);

	return (table && table_find(table, hclu + 2)) || is_fixed(set, hclu);
}

bool qcow2_metaset_contains(const struct qcow2_metaset *set, u64 hclu)
{
	bool found;

	rcu_read_lock();
	found = __qcow2_metaset_contains(set, hclu);
	rcu_read_unlock();
	return found;
}
