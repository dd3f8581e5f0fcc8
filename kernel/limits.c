// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Queue limits: the smallest write of the image, and discards by clusters.
 */
#include "limits.h"

#define MAX_IO_SECTORS		(8U << (20 - SECTOR_SHIFT))
#define MAX_DISCARD_SECTORS	(1U << (30 - SECTOR_SHIFT))

static u32 discard_sectors(const struct qcow2_target *t)
{
	return t->chain.writable ? MAX_DISCARD_SECTORS : 0;
}

void qcow2_limits_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct qcow2_target *t = ti->private;
	const struct qcow2_image *top = qcow2_chain_top(&t->chain);
	u32 granule = top->backend.granule;

	limits->logical_block_size = max(limits->logical_block_size, granule);
	limits->physical_block_size = max(limits->physical_block_size, limits->logical_block_size);
	limits->io_min = max(limits->io_min, limits->physical_block_size);
	limits->io_opt = max(top->geo.cluster_size, limits->io_min);
	limits->max_hw_sectors = MAX_IO_SECTORS;
	limits->discard_granularity = max(top->geo.cluster_size, limits->logical_block_size);
	limits->max_write_zeroes_sectors = discard_sectors(t);
	qcow2_limits_set_discard(limits, discard_sectors(t));
	qcow2_limits_no_poll(limits);
}

static void hints(void *data, struct queue_limits *limits)
{
	qcow2_limits_hints(data, limits);
}

void qcow2_limits_apply(struct qcow2_target *t)
{
	struct request_queue *q = dm_disk(dm_table_get_md(t->ti->table))->queue;

	if (qcow2_chain_top(&t->chain)->backend.file)
		qcow2_queue_set_limits(q, t->ti, hints);
}
