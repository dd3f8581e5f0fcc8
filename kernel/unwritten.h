/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Parts of a file that are mapped but were not written as a whole: the rest of
 * them are bytes that the file system only promises to read as zeros. A write
 * there makes it change its own metadata, in a transaction of its own, so it
 * is never tried in the context of whoever submitted it.
 *
 * One bit for each subcluster, or 64 KiB of a larger one, in pages that exist
 * where a bit was set. Beyond QCOW2_UNWRITTEN_PAGES, or without memory,
 * everything counts as unwritten: the answer costs time then, and is never
 * wrong.
 *
 * Layer 1. add: process context, sleeps if @gfp allows that. remove and
 * contains: any context.
 */
#ifndef QCOW2_UNWRITTEN_H
#define QCOW2_UNWRITTEN_H

#include <linux/types.h>
#include <linux/xarray.h>

#define QCOW2_UNWRITTEN_PAGES	256	/* 512 GiB in units of 64 KiB */

struct qcow2_unwritten {
	unsigned int shift;	/* bytes of a unit, as a power of two */
	struct xarray pages;	/* of bits, one a unit */
	atomic_t nr_pages;
	bool all;		/* no longer known */
};

/* Units of 2^@bits bytes, or smaller ones. */
void qcow2_unwritten_init(struct qcow2_unwritten *unwritten, u32 bits);
/* Forget everything. Nobody uses it. */
void qcow2_unwritten_clear(struct qcow2_unwritten *unwritten);

/* Some of these bytes may not be written; said before they are mapped, or after. */
void qcow2_unwritten_add(struct qcow2_unwritten *unwritten, u64 hoff, u64 len, gfp_t gfp);
/* All of these bytes are written, or about to be before they are mapped. */
void qcow2_unwritten_remove(struct qcow2_unwritten *unwritten, u64 hoff, u64 len);
/* Are some of these bytes, which were found mapped, perhaps not written? */
bool qcow2_unwritten_contains(struct qcow2_unwritten *unwritten, u64 hoff, u64 len);

#endif
