/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The refcount table: where the refcount blocks are, and how blocks and table
 * grow. The other half of refcount.h, whose essay holds here; called by
 * refcount.c under its lock.
 */
#ifndef QCOW2_REFTABLE_H
#define QCOW2_REFTABLE_H

#include "refcount.h"

/* Entries of the table, used or not. */
u64 qcow2_reftable_entries(const struct qcow2_refcount *rc);
/*
 * The first entry from @index on that may have a block: most of a table is empty. Beyond the table:
 * there is none.
 */
u64 qcow2_reftable_next(const struct qcow2_refcount *rc, u64 index);
/* Host offset of block @index, 0 = none. -EUCLEAN: the entry is broken. */
int qcow2_reftable_block(struct qcow2_refcount *rc, u64 index, u64 *hoff);
/* Make block @index, which does not exist. */
int qcow2_reftable_add_block(struct qcow2_refcount *rc, u64 index);
/* Move the full table to a larger one. */
int qcow2_reftable_grow(struct qcow2_refcount *rc);
/* May cluster @hclu exist: does it fit the device and the format? */
bool qcow2_reftable_fits(const struct qcow2_refcount *rc, u64 hclu);
/* Make the image at least @clusters long. */
int qcow2_reftable_extend(struct qcow2_refcount *rc, u64 clusters);

#endif
