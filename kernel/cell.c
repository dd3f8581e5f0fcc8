// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Busy guest clusters: a small hash of holders, each with a queue behind it.
 */
#include <linux/hash.h>
#include "cell.h"

void qcow2_cells_init(struct qcow2_cells *cells)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(cells->buckets); i++) {
		spin_lock_init(&cells->buckets[i].lock);
		INIT_LIST_HEAD(&cells->buckets[i].holders);
	}
}

bool qcow2_cell_acquire(struct qcow2_cells *cells, struct qcow2_cell *cell, u64 gclu)
{
	u32 hash = hash_64(gclu, QCOW2_CELL_HASH_BITS);
	struct qcow2_cell *holder;
	unsigned long flags;
	bool held = true;

	cell->gclu = gclu;
	INIT_LIST_HEAD(&cell->waiters);
	spin_lock_irqsave(&cells->buckets[hash].lock, flags);
	list_for_each_entry(holder, &cells->buckets[hash].holders, list) {
		if (holder->gclu == gclu) {
			list_add_tail(&cell->list, &holder->waiters);
			held = false;
			break;
		}
	}
	if (held)
		list_add(&cell->list, &cells->buckets[hash].holders);
	spin_unlock_irqrestore(&cells->buckets[hash].lock, flags);
	return held;
}

void qcow2_cell_release(struct qcow2_cells *cells, struct qcow2_cell *cell)
{
	u32 hash = hash_64(cell->gclu, QCOW2_CELL_HASH_BITS);
	struct qcow2_cell *next;
	unsigned long flags;

	spin_lock_irqsave(&cells->buckets[hash].lock, flags);
	list_del(&cell->list);
	next = list_first_entry_or_null(&cell->waiters, struct qcow2_cell, list);
	if (next) {
		list_del(&next->list);
		list_splice_init(&cell->waiters, &next->waiters);
		list_add(&next->list, &cells->buckets[hash].holders);
	}
	spin_unlock_irqrestore(&cells->buckets[hash].lock, flags);
	if (next)
		next->granted(next);
}
