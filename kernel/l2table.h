/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * An L2 table that is ours: made where there is none, copied where it is
 * shared with a snapshot, before an entry in it may change.
 *
 * Layer 6, below cow and release.
 */
#ifndef QCOW2_L2TABLE_H
#define QCOW2_L2TABLE_H

#include "chain.h"

/*
 * Make sure that the L2 table of @goff in the top layer is ours. Sleeps; the
 * caller holds the cell of @goff's cluster and no epoch. -ENOSPC, -EIO,
 * -EUCLEAN.
 */
int qcow2_l2table_own(struct qcow2_chain *chain, u64 goff);
/* Then: its slice with the entry of @goff, pinned, or an error; corruption has been told. */
struct qcow2_slice *qcow2_l2table_pin(struct qcow2_chain *chain, u64 goff);
/* A cluster of the top layer; waits for a commit where the allocator needs one. */
int qcow2_l2table_reserve(struct qcow2_chain *chain, struct qcow2_cluster *cluster);

#endif
