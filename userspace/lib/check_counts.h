/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * How often each cluster of an image is referred to, as a walk over its tables
 * finds it. Two bytes per cluster of the file, of which only touched pages take
 * memory, unless it is locked: then they are taken from what was made ready (mem_lock()).
 * The few counts that need more are kept apart.
 */
#ifndef QCOW2CTL_CHECK_COUNTS_H
#define QCOW2CTL_CHECK_COUNTS_H

#include <stdbool.h>
#include <linux/types.h>

struct check_counts_far {
	u64 hclu;		/* 0 = empty slot; cluster 0 has slot number 0 to itself */
	u64 count;
};

struct check_counts {
	u16 *near;		/* 0xffff: look into far */
	u64 room;		/* clusters that near has */
	bool in_heap;
	struct check_counts_far *far;
	u64 nr_far, nr_slots;
};

/* Of a file with so many clusters: those that are counted behind its end, which a repair may come to use. */
u64 check_counts_beyond(u64 clusters);
/* Negative errno. */
int check_counts_init(struct check_counts *counts, u64 clusters);
void check_counts_release(struct check_counts *counts);
/* @hclu is below the number of clusters. */
void check_counts_add(struct check_counts *counts, u64 hclu, u64 times);
u64 check_counts_get(const struct check_counts *counts, u64 hclu);

#endif
