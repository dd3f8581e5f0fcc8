/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The set of host clusters that hold metadata of an image: header, L1, L2,
 * refcount table and blocks, snapshot table. Guest data is never read from
 * or written to one of them, and the allocator never hands one out, whatever
 * the image's own tables say.
 *
 * A hash with open addressing, 8 bytes a slot: one L2 table per 512 MiB of
 * guest data makes even an 8 TiB image cost 256 KiB. What stays where it is for
 * as long as the image is active, and may be long, lies beside it as sorted
 * ranges: the L1 tables of the snapshots, 65536 of up to 32 MiB, cost 1 MiB.
 *
 * Layer 1. contains: any context, under RCU. The rest: process context;
 * writers are serialised inside.
 */
#ifndef QCOW2_METASET_H
#define QCOW2_METASET_H

#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/types.h>

struct qcow2_metaset_table;

/* Host clusters [first, end). */
struct qcow2_metaset_range {
	u64 first;
	u64 end;
};

struct qcow2_metaset {
	struct qcow2_metaset_table __rcu *table;
	struct mutex lock;		/* writers */
	struct qcow2_metaset_range *fixed;	/* sorted, apart; changed while nobody reads */
	u32 nr_fixed;
};

void qcow2_metaset_init(struct qcow2_metaset *set);
/* Forget everything and free the memory. Nobody may be reading. */
void qcow2_metaset_clear(struct qcow2_metaset *set);

/*
 * Put @nr ranges in the set, until it is cleared. @ranges is the set's from now
 * on, and was allocated by kvmalloc. Nobody may be reading. -EEXIST: some of
 * them overlap; all are in the set.
 */
int qcow2_metaset_fix(struct qcow2_metaset *set, struct qcow2_metaset_range *ranges, u32 nr);

/* 0, -EEXIST if @hclu is in the set already, -ENOMEM. */
int qcow2_metaset_add(struct qcow2_metaset *set, u64 hclu);
/* The same for what may have several owners: 1 if it is in the set already by this call alone. */
int qcow2_metaset_share(struct qcow2_metaset *set, u64 hclu);
/* Room for @more clusters at once, so that loading does not grow step by step. */
int qcow2_metaset_reserve(struct qcow2_metaset *set, u64 more);
void qcow2_metaset_remove(struct qcow2_metaset *set, u64 hclu);
/* Caller is in an RCU section. */
bool __qcow2_metaset_contains(const struct qcow2_metaset *set, u64 hclu);
bool qcow2_metaset_contains(const struct qcow2_metaset *set, u64 hclu);

#endif
