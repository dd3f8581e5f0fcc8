// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Decoder and encoder of the entries of the snapshot table.
 *
 * The table has no index: an entry's place follows from the lengths of all
 * entries before it. So the lengths are limited here, one entry to 1024 bytes
 * of extra data and two strings of 16 bits, the table to 64 MiB, and whoever
 * walks it is bounded without further care.
 */
#include <linux/types.h>
#include <linux/string.h>
#include <asm/byteorder.h>
#include "format.h"
#include "geometry.h"

static void snapshot_decode_extra(const u8 *data, struct qcow2_snapshot *snap)
{
	const struct qcow2_snapshot_extra_disk *extra = (const void *)data;
	u32 size = snap->extra_data_size;

	snap->disk_size = QCOW2_SNAPSHOT_NONE;
	snap->icount = QCOW2_SNAPSHOT_NONE;
	if (size >= 8)
		snap->vm_state_size = be64_to_cpu(extra->vm_state_size_large);
	if (size >= 16)
		snap->disk_size = be64_to_cpu(extra->disk_size);
	if (size >= 24)
		snap->icount = be64_to_cpu(extra->icount);
}

enum qcow2_verdict qcow2_snapshot_decode(const void *table, u64 len, u64 offset,
					 struct qcow2_snapshot *snap)
{
	const struct qcow2_snapshot_disk *disk;
	u32 bytes;

	memset(snap, 0, sizeof(*snap));
	if (offset > QCOW2_MAX_SNAPSHOT_TABLE_BYTES)
		return QCOW2_SNAPSHOT_TABLE_TOO_LARGE;
	if (offset > len || len - offset < sizeof(*disk))
		return QCOW2_SNAPSHOT_RANGE;
	disk = (const void *)((const u8 *)table + offset);
	snap->l1_table_offset = be64_to_cpu(disk->l1_table_offset);
	snap->l1_size = be32_to_cpu(disk->l1_size);
	snap->date_sec = be32_to_cpu(disk->date_sec);
	snap->date_nsec = be32_to_cpu(disk->date_nsec);
	snap->vm_clock_nsec = be64_to_cpu(disk->vm_clock_nsec);
	snap->vm_state_size = be32_to_cpu(disk->vm_state_size);
	snap->extra_data_size = be32_to_cpu(disk->extra_data_size);
	if (snap->extra_data_size > QCOW2_MAX_SNAPSHOT_EXTRA)
		return QCOW2_SNAPSHOT_EXTRA;

	snap->id.offset = offset + sizeof(*disk) + snap->extra_data_size;
	snap->id.length = be16_to_cpu(disk->id_str_size);
	snap->name.offset = snap->id.offset + snap->id.length;
	snap->name.length = be16_to_cpu(disk->name_size);
	bytes = snap->name.offset + snap->name.length - offset;
	snap->length = (bytes + 7) & ~7U;
	if (offset + bytes > QCOW2_MAX_SNAPSHOT_TABLE_BYTES)
		return QCOW2_SNAPSHOT_TABLE_TOO_LARGE;
	if (len - offset < bytes)
		return QCOW2_SNAPSHOT_RANGE;
	snapshot_decode_extra((const u8 *)(disk + 1), snap);
	return QCOW2_OK;
}

enum qcow2_verdict qcow2_snapshot_l1(const struct qcow2_geometry *geo,
				     const struct qcow2_snapshot *snap)
{
	if (snap->l1_size > QCOW2_MAX_L1_BYTES / sizeof(__be64) ||
	    (snap->l1_size && !snap->l1_table_offset) ||
	    qcow2_in_cluster(geo, snap->l1_table_offset) ||
	    snap->l1_table_offset > QCOW2_MAX_HOFF - QCOW2_MAX_L1_BYTES)
		return QCOW2_SNAPSHOT_L1;
	return QCOW2_OK;
}

void qcow2_snapshot_encode(const struct qcow2_snapshot *snap,
			   struct qcow2_snapshot_disk *disk,
			   struct qcow2_snapshot_extra_disk *extra)
{
	memset(disk, 0, sizeof(*disk));
	disk->l1_table_offset = cpu_to_be64(snap->l1_table_offset);
	disk->l1_size = cpu_to_be32(snap->l1_size);
	disk->id_str_size = cpu_to_be16(snap->id.length);
	disk->name_size = cpu_to_be16(snap->name.length);
	disk->date_sec = cpu_to_be32(snap->date_sec);
	disk->date_nsec = cpu_to_be32(snap->date_nsec);
	disk->vm_clock_nsec = cpu_to_be64(snap->vm_clock_nsec);
	/* The old field cannot say more; readers of the new one ignore it. */
	if (snap->vm_state_size <= 0xffffffffU)
		disk->vm_state_size = cpu_to_be32(snap->vm_state_size);
	disk->extra_data_size = cpu_to_be32(snap->extra_data_size);
	extra->vm_state_size_large = cpu_to_be64(snap->vm_state_size);
	extra->disk_size = cpu_to_be64(snap->disk_size);
	extra->icount = cpu_to_be64(snap->icount);
}
