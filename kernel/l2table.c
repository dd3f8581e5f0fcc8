// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * L2 tables come into being. A new table is written at once, while nothing on
 * disk points to it; the L1 entry that does is staged, and the commit puts a
 * barrier between the two.
 */
#include "l2table.h"
#include "trace.h"

int qcow2_l2table_reserve(struct qcow2_chain *chain, struct qcow2_cluster *cluster)
{
	struct qcow2_refcount *rc = &qcow2_chain_top(chain)->rc;
	int ret;

	/* -EAGAIN: the refcount table moved, its commit must end before it moves again. */
	while ((ret = qcow2_refcount_reserve(rc, cluster)) == -EAGAIN) {
		ret = qcow2_commit_sync(&chain->commit);
		if (ret)
			return ret;
	}
	if (ret == -EUCLEAN)
		qcow2_commit_worsen(&chain->commit, QCOW2_MODE_RO, QCOW2_FAULT_REFCOUNT, 0);
	return ret;
}

/* Fill the unreachable cluster: a copy of the shared table, or zeros. */
static int write_table(struct qcow2_image *top, u64 old, const struct qcow2_cluster *new)
{
	if (old)
		return qcow2_map_copy_table(&top->map, old, new->hoff);
	return qcow2_meta_format(&top->meta, new->hoff, new->zeroed);
}

/*
 * The new table is in place in memory: the old one lost a reference. Other L1 entries may
 * still lead there.
 */
static void drop_old_table(struct qcow2_chain *chain, struct qcow2_freed *freed, u64 old,
			   u64 more, u64 number)
{
	struct qcow2_image *top = qcow2_chain_top(chain);

	if (!more) {
		qcow2_metaset_remove(&top->metaset, qcow2_to_clu(&top->geo, old));
		qcow2_meta_forget(&top->meta, old);
	}
	freed->number = number;
	qcow2_quarantine_add(&chain->quarantine, freed);
}

/* A table of our own under the L1 entry of @goff, in place of @old, or of none. */
static int put_table(struct qcow2_chain *chain, u64 goff, u64 old, u64 *number)
{
	struct qcow2_image *top = qcow2_chain_top(chain);
	struct qcow2_cluster new;
	int ret;

	ret = qcow2_l2table_reserve(chain, &new);
	if (ret)
		return ret;
	ret = write_table(top, old, &new);
	if (ret == -EUCLEAN)
		qcow2_chain_corrupt(chain, 0, goff, QCOW2_L1_ENTRY_RANGE);
	if (!ret)
		ret = qcow2_metaset_add(&top->metaset, qcow2_to_clu(&top->geo, new.hoff));
	if (ret) {
		qcow2_refcount_unreserve(&top->rc, new.hoff);
		return ret;
	}
	*number = qcow2_map_stage_table(&top->map, goff, new.hoff);
	trace_qcow2_table(goff, old, new.hoff, *number);
	return 0;
}

static int __own_table(struct qcow2_chain *chain, u64 goff, u64 old)
{
	struct qcow2_image *top = qcow2_chain_top(chain);
	struct qcow2_freed *freed;
	u64 number, more;
	int ret;

	lockdep_assert_held(&top->map.table_lock);
	if (!old)
		return put_table(chain, goff, 0, &number);
	more = qcow2_map_table_references(&top->map, old) - 1;
	freed = qcow2_quarantine_alloc(&chain->quarantine);
	freed->hclu = qcow2_to_clu(&top->geo, old);
	freed->count = 1;
	ret = qcow2_chain_claim(chain, freed, more);
	if (!ret)
		ret = put_table(chain, goff, old, &number);
	if (ret)
		qcow2_quarantine_unused(&chain->quarantine, freed);
	else
		drop_old_table(chain, freed, old, more, number);
	return ret;
}

int qcow2_l2table_own(struct qcow2_chain *chain, u64 goff)
{
	struct qcow2_map *map = &qcow2_chain_top(chain)->map;
	u64 old;
	int ret = 0;

	if (qcow2_map_table(map, goff, &old) == QCOW2_TABLE_OURS)
		return 0;
	mutex_lock(&map->table_lock);
	switch (qcow2_map_table(map, goff, &old)) {
	case QCOW2_TABLE_OURS:
		break;
	case QCOW2_TABLE_CORRUPT:
		ret = -EUCLEAN;
		break;
	default:
		ret = __own_table(chain, goff, old);
	}
	mutex_unlock(&map->table_lock);
	return ret;
}

struct qcow2_slice *qcow2_l2table_pin(struct qcow2_chain *chain, u64 goff)
{
	struct qcow2_slice *slice = qcow2_map_pin(&qcow2_chain_top(chain)->map, goff);

	if (slice == ERR_PTR(-EUCLEAN))
		qcow2_chain_corrupt(chain, 0, goff, QCOW2_L1_ENTRY_RANGE);
	return slice;
}
