/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Host clusters that change while somebody goes through the metadata: whose
 * count or whose references have changed since the watch was hung up. What
 * it is good for: the essay in check.c.
 *
 * Layer 1. No I/O, no locks: who marks holds the lock under which the pointer
 * to the watch was set, so that it can be taken away.
 */
#ifndef QCOW2_WATCH_H
#define QCOW2_WATCH_H

#include <linux/bitops.h>
#include <linux/minmax.h>
#include <linux/types.h>

/* A window of host clusters, one bit each. */
struct qcow2_watch {
	u64 first;
	u64 count;
	unsigned long *bits;
};

/* @watch NULL: nobody watches. Any context. */
static inline void qcow2_watch_mark(struct qcow2_watch *watch, u64 hclu, u64 count)
{
	u64 end;

	if (likely(!watch))
		return;
	end = min(hclu + count, watch->first + watch->count);
	for (hclu = max(hclu, watch->first); hclu < end; hclu++)
		set_bit(hclu - watch->first, watch->bits);
}

static inline bool qcow2_watch_is_marked(const struct qcow2_watch *watch, u64 hclu)
{
	return test_bit(hclu - watch->first, watch->bits);
}

#endif
