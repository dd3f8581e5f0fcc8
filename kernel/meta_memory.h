/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The memory of slices, and what is in reserve. Only for the files of meta; meta.h says why nobody
 * waits in vain.
 *
 * Layer 2, below meta.c.
 */
#ifndef QCOW2_META_MEMORY_H
#define QCOW2_META_MEMORY_H

#include <linux/gfp.h>
#include "meta.h"

/* Reclaims, and does not wait for what that does not find. */
#define QCOW2_META_GFP_TRY	(GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN)
/* Does not reclaim either: of a pool what is in reserve. */
#define QCOW2_META_GFP_RESERVE	(GFP_NOWAIT | __GFP_NOWARN)
/* Without memory, look again after so long. */
#define QCOW2_META_SHORT_JIFFIES (HZ / 50 + 1)

int qcow2_meta_memory_module_init(void);
/* Nothing is on its way under RCU. */
void qcow2_meta_memory_module_exit(void);

/* On errors nothing is left. */
int qcow2_meta_memory_init(struct qcow2_meta *meta);
void qcow2_meta_memory_exit(struct qcow2_meta *meta);

/* What a slice counts in its cache. */
static inline u32 qcow2_slice_bytes(const struct qcow2_slice *slice)
{
	return sizeof(*slice) + qcow2_slice_size(slice->meta->geo);
}

/* An empty one, pinned, or NULL; not from the reserve. Sleeps. */
struct qcow2_slice *qcow2_slice_new(struct qcow2_meta *meta, enum qcow2_slice_kind kind);
/* After an RCU grace period. Any context. */
void qcow2_slice_free(struct qcow2_slice *slice);
/* A second buffer for a slice, for meta->buffers, or NULL. Sleeps, but not for memory. */
__be64 *qcow2_meta_spare(struct qcow2_meta *meta);

#endif
