/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Busy guest clusters: whoever changes a cluster's mapping holds its cell, the
 * others queue behind it in the order of arrival.
 *
 * Layer 1. Never sleeps. A request holds at most one cell (rules.md 25), so
 * cells cannot deadlock. No request may be inside an epoch while it waits.
 */
#ifndef QCOW2_CELL_H
#define QCOW2_CELL_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#define QCOW2_CELL_HASH_BITS	6

/* One holder or waiter; embedded in the request, which owns it. */
struct qcow2_cell {
	struct list_head list;		/* in the table (holder) or behind the holder */
	struct list_head waiters;	/* of the holder */
	u64 gclu;
	void (*granted)(struct qcow2_cell *cell);
};

struct qcow2_cells {
	struct {
		spinlock_t lock;	/* holders, and the waiters behind each */
		struct list_head holders;
	} buckets[1 << QCOW2_CELL_HASH_BITS];
};

void qcow2_cells_init(struct qcow2_cells *cells);

/*
 * Take the cell of @gclu. True: held now. False: queued; granted() is called
 * when it is held, in the context of the releasing request, and must only
 * queue work.
 */
bool qcow2_cell_acquire(struct qcow2_cells *cells, struct qcow2_cell *cell, u64 gclu);
void qcow2_cell_release(struct qcow2_cells *cells, struct qcow2_cell *cell);

#endif
