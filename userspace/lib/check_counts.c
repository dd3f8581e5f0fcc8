// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Counts of references, found by walking the tables.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "check_counts.h"
#include "mem.h"

#define AHEAD		65536
#define FAR		0xffff
#define FIRST_SLOTS	1024

u64 check_counts_beyond(u64 clusters)
{
	return clusters + clusters / 4 + AHEAD;
}

int check_counts_init(struct check_counts *counts, u64 clusters)
{
	bool in_heap = mem_is_locked();
	void *near = in_heap ? calloc(clusters, sizeof(u16)) :
			       mmap(NULL, clusters * sizeof(u16), PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*counts = (struct check_counts){ 0 };
	if (!near || near == MAP_FAILED)
		return -errno;
	counts->near = near;
	counts->in_heap = in_heap;
	counts->room = clusters;
	return 0;
}

void check_counts_release(struct check_counts *counts)
{
	if (counts->in_heap)
		free(counts->near);
	else if (counts->near)
		munmap(counts->near, counts->room * sizeof(u16));
	free(counts->far);
	*counts = (struct check_counts){ 0 };
}

static struct check_counts_far *find(const struct check_counts *counts, u64 hclu)
{
	u64 mask = counts->nr_slots - 1;
	u64 i = 1 + ((hclu * 0x9e3779b97f4a7c15ULL) >> 16 & (mask >> 1));

	if (!hclu)
		return &counts->far[0];
	while (counts->far[i].hclu && counts->far[i].hclu != hclu)
		i = i == mask ? 1 : i + 1;
	return &counts->far[i];
}

static void grow(struct check_counts *counts)
{
	struct check_counts_far *old = counts->far;
	u64 nr = counts->nr_slots, i;

	counts->nr_slots = nr ? 2 * nr : FIRST_SLOTS;
	counts->far = mem_zalloc(counts->nr_slots * sizeof(*counts->far));
	if (nr)
		counts->far[0] = old[0];
	for (i = 1; i < nr; i++) {
		if (old[i].hclu)
			*find(counts, old[i].hclu) = old[i];
	}
	free(old);
}

void check_counts_add(struct check_counts *counts, u64 hclu, u64 times)
{
	u64 sum = counts->near[hclu] + times;
	struct check_counts_far *far;

	if (counts->near[hclu] != FAR && sum < FAR) {
		counts->near[hclu] = sum;
		return;
	}
	if (2 * counts->nr_far >= counts->nr_slots)
		grow(counts);
	far = find(counts, hclu);
	if (counts->near[hclu] != FAR) {
		counts->nr_far++;
		far->hclu = hclu;
		far->count = counts->near[hclu];
		counts->near[hclu] = FAR;
	}
	far->count += times;
}

u64 check_counts_get(const struct check_counts *counts, u64 hclu)
{
	return counts->near[hclu] == FAR ? find(counts, hclu)->count : counts->near[hclu];
}
