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
	u32 granule = max(top->backend.granule, top->data->granule);

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

/*
 * A table without devices keeps the limits of the one before it, says dm core.
 * That was a layer perhaps: what a target may ask for begins anew.
 */
static void hints_anew(void *data, struct queue_limits *limits)
{
	struct queue_limits fresh;

	blk_set_stacking_limits(&fresh);
	limits->logical_block_size = fresh.logical_block_size;
	limits->physical_block_size = fresh.physical_block_size;
	limits->alignment_offset = fresh.alignment_offset;
	limits->io_min = fresh.io_min;
	limits->chunk_sectors = fresh.chunk_sectors;
	limits->max_segments = fresh.max_segments;
	limits->max_segment_size = fresh.max_segment_size;
	limits->seg_boundary_mask = fresh.seg_boundary_mask;
	limits->virt_boundary_mask = fresh.virt_boundary_mask;
	limits->max_discard_segments = fresh.max_discard_segments;
	qcow2_limits_hints(data, limits);
}

static bool has_device(const struct qcow2_target *t)
{
	unsigned int i;

	for (i = 0; i < t->chain.nr_layers; i++) {
		if (t->chain.layers[i].backend.dev || t->chain.layers[i].data->dev)
			return true;
	}
	return false;
}

void qcow2_limits_apply(struct qcow2_target *t)
{
	const struct qcow2_image *top = qcow2_chain_top(&t->chain);
	struct request_queue *q = dm_disk(dm_table_get_md(t->ti->table))->queue;

	qcow2_queue_no_poll(q);
	if (top->backend.file || top->data->file)
		qcow2_queue_set_limits(q, t->ti, has_device(t) ? hints : hints_anew);
}
