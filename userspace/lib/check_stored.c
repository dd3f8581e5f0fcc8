// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Refcount blocks as they are on disk, through a cache that neighbours on disk
 * enter together.
 */
#include <asm/byteorder.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "check_stored.h"
#include "err.h"
#include "mem.h"

#define CACHE_BYTES	(64ULL << 20)
#define RUN_BYTES	(4U << 20)	/* read at once */

static u64 min_u64(u64 a, u64 b)
{
	return a < b ? a : b;
}

int check_stored_init(struct check_stored *stored, const struct image *image)
{
	const struct qcow2_header *h = &image->header;
	u64 bytes = (u64)h->refcount_table_clusters << h->cluster_bits;
	int ret;

	memset(stored, 0, sizeof(*stored));
	stored->image = image;
	stored->table = mem_aligned(bytes);
	ret = image_read(image, h->refcount_table_offset, stored->table, bytes);
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the refcount table");
	stored->nr_entries = bytes / sizeof(__be64);
	while (stored->nr_entries && !stored->table[stored->nr_entries - 1])
		stored->nr_entries--;
	stored->nr_slots = min_u64(CACHE_BYTES >> h->cluster_bits, stored->nr_entries);
	stored->held = mem_zalloc(stored->nr_slots * sizeof(*stored->held));
	stored->cache = mem_aligned(stored->nr_slots << h->cluster_bits);
	return 0;
}

void check_stored_release(struct check_stored *stored)
{
	free(stored->table);
	free(stored->held);
	free(stored->cache);
	memset(stored, 0, sizeof(*stored));
}

u64 check_stored_block(const struct check_stored *stored, u64 index)
{
	return be64_to_cpu(stored->table[index]) & QCOW2_REFTABLE_HOFF_MASK;
}

/* Block @index and those behind it in table and file, as far as slots and buffer go. */
static int load(struct check_stored *stored, u64 index)
{
	u32 bits = stored->image->geo.cluster_bits;
	u64 slot = index % stored->nr_slots, hoff = check_stored_block(stored, index), n, i;
	u64 most = min_u64(stored->nr_slots - slot, RUN_BYTES >> bits);
	int ret;

	/* Who asks here and there does not want the neighbours. */
	if (index != stored->next)
		most = 1;
	if (most > stored->nr_entries - index)
		most = stored->nr_entries - index;
	for (n = 1; n < most; n++) {
		if (check_stored_block(stored, index + n) != hoff + (n << bits))
			break;
	}
	stored->next = index + n;
	for (i = 0; i < n; i++)
		stored->held[slot + i] = 0;
	ret = image_read(stored->image, hoff, stored->cache + (slot << bits), n << bits);
	for (i = 0; !ret && i < n; i++)
		stored->held[slot + i] = index + i + 1;
	return ret;
}

int check_stored_get(struct check_stored *stored, u64 hclu, u64 *count)
{
	const struct qcow2_geometry *geo = &stored->image->geo;
	u64 index = qcow2_reftable_index(geo, hclu), slot, hoff;
	int ret = 0;

	*count = 0;
	if (index >= stored->nr_entries)
		return 0;
	hoff = check_stored_block(stored, index);
	if (!hoff)
		return 0;
	if (qcow2_in_cluster(geo, hoff))
		return -EUCLEAN;
	slot = index % stored->nr_slots;
	if (stored->held[slot] != index + 1)
		ret = load(stored, index);
	if (!ret)
		*count = qcow2_refcount_get(stored->cache + (slot << geo->cluster_bits),
					    qcow2_refblock_index(geo, hclu), geo->refcount_order);
	return ret;
}
