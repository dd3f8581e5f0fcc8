// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The set of units of a file that were not written as a whole.
 */
#include <linux/bitops.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include "unwritten.h"

#define MAX_SHIFT	16
#define PAGE_UNITS	(PAGE_SIZE * BITS_PER_BYTE)

void qcow2_unwritten_init(struct qcow2_unwritten *unwritten, u32 bits)
{
	unwritten->shift = min_t(u32, bits, MAX_SHIFT);
	xa_init(&unwritten->pages);
	atomic_set(&unwritten->nr_pages, 0);
	unwritten->all = false;
}

void qcow2_unwritten_clear(struct qcow2_unwritten *unwritten)
{
	unsigned long index;
	void *page;

	xa_for_each(&unwritten->pages, index, page)
		free_page((unsigned long)page);
	xa_destroy(&unwritten->pages);
	qcow2_unwritten_init(unwritten, unwritten->shift);
}

/* The page of bits @index, new or somebody else's; NULL: there will be none. */
static unsigned long *add_page(struct qcow2_unwritten *unwritten, u64 index, gfp_t gfp)
{
	void *page = NULL, *there;

	if (atomic_inc_return(&unwritten->nr_pages) <= QCOW2_UNWRITTEN_PAGES)
		page = (void *)get_zeroed_page(gfp | __GFP_NOWARN);
	if (!page)
		goto out_uncount;
	there = xa_cmpxchg(&unwritten->pages, index, NULL, page, gfp | __GFP_NOWARN);
	if (!there)
		return page;
	free_page((unsigned long)page);
	page = xa_is_err(there) ? NULL : there;
out_uncount:
	atomic_dec(&unwritten->nr_pages);
	return page;
}

void qcow2_unwritten_add(struct qcow2_unwritten *unwritten, u64 hoff, u64 len, gfp_t gfp)
{
	u64 unit = hoff >> unwritten->shift, end = ((hoff + len - 1) >> unwritten->shift) + 1;
	unsigned long *bits;

	for (; unit < end && !READ_ONCE(unwritten->all); unit++) {
		bits = xa_load(&unwritten->pages, unit / PAGE_UNITS);
		if (!bits)
			bits = add_page(unwritten, unit / PAGE_UNITS, gfp);
		if (bits)
			set_bit(unit % PAGE_UNITS, bits);
		else
			WRITE_ONCE(unwritten->all, true);
	}
	/* Seen before the mapping is; pairs with the one in contains. */
	smp_wmb();
}

void qcow2_unwritten_remove(struct qcow2_unwritten *unwritten, u64 hoff, u64 len)
{
	u64 unit = (hoff + (1ULL << unwritten->shift) - 1) >> unwritten->shift;
	u64 end = (hoff + len) >> unwritten->shift;
	unsigned long *bits;

	if (!atomic_read(&unwritten->nr_pages))
		return;
	for (; unit < end; unit++) {
		bits = xa_load(&unwritten->pages, unit / PAGE_UNITS);
		if (bits)
			clear_bit(unit % PAGE_UNITS, bits);
	}
}

bool qcow2_unwritten_contains(struct qcow2_unwritten *unwritten, u64 hoff, u64 len)
{
	u64 unit = hoff >> unwritten->shift, end = ((hoff + len - 1) >> unwritten->shift) + 1;
	unsigned long *bits;

	/* After the mapping was seen; pairs with the one in add. */
	smp_rmb();
	if (READ_ONCE(unwritten->all))
		return true;
	if (!atomic_read(&unwritten->nr_pages))
		return false;
	for (; unit < end; unit++) {
		bits = xa_load(&unwritten->pages, unit / PAGE_UNITS);
		if (bits && test_bit(unit % PAGE_UNITS, bits))
			return true;
	}
	return false;
}
