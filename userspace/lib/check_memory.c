// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What a check will have in memory, found out before it runs: on a suspended
 * device it gets none.
 */
#include <asm/byteorder.h>
#include <string.h>
#include "check.h"
#include "mem.h"

#define OF_BLOCK	64	/* what the heap adds to a small piece */

u64 check_memory(const struct image *image, bool repairs)
{
	u64 clusters = qcow2_to_clu(&image->geo, qcow2_round_up(&image->geo, image->end)) + 1;
	u64 more = check_counts_beyond(clusters);

	return (clusters + more + (repairs ? clusters : 0)) * sizeof(u16);
}

/* A table that cannot be read is the check's to complain of. */
static void collect(const struct image *image, u64 hoff, u32 size, struct check_tables *tables)
{
	MEM_FREE __be64 *l1 = mem_aligned(size * sizeof(*l1));
	u32 i;

	if (image_read(image, hoff, l1, size * sizeof(*l1)))
		return;
	for (i = 0; i < size; i++) {
		if (l1[i])
			check_tables_add(tables, be64_to_cpu(l1[i]), i, false);
	}
}

int check_measure(const struct image *image, struct check_needs *needs)
{
	struct check_tables tables = { 0 };
	struct check_snapshots snapshots;
	int ret = check_snapshots_read(&snapshots, image);
	u64 left = image->end;
	u32 i;

	memset(needs, 0, sizeof(*needs));
	for (i = 0; i < snapshots.count; i++) {
		const struct check_snapshot *snap = &snapshots.entries[i];
		u64 bytes = snap->l1_size * sizeof(__be64);

		needs->snapshots += 2 * (sizeof(*snap) + OF_BLOCK) + 4 * (u64)snap->len;
		if (snap->bad_l1 || snap->l1_hoff >= image->end || bytes > left)
			continue;
		left -= bytes;
		if (needs->snapshot_l1 < bytes)
			needs->snapshot_l1 = bytes;
		collect(image, snap->l1_hoff, snap->l1_size, &tables);
	}
	check_tables_merge(&tables);
	/* The disk's own tables come and go while the device runs. */
	needs->tables = check_tables_memory(tables.count + image->header.l1_size);
	check_tables_release(&tables);
	check_snapshots_release(&snapshots);
	return ret;
}
