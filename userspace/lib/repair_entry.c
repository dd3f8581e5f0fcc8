// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What becomes of single L1 and L2 entries that are broken.
 */
#include "repair.h"

static bool is_lost_compressed(const struct image *image, u64 *raw, u64 *bitmap)
{
	struct qcow2_l2_entry entry;

	*raw &= ~QCOW2_OFLAG_COPIED;
	if (qcow2_l2_decode(&image->geo, *raw, 0, &entry) ||
	    check_is_beyond(image, entry.hoff, entry.compressed_length))
		return true;
	/* A reader does not look at it. */
	*bitmap = 0;
	return false;
}

/* Without a host cluster: what was data becomes zeros, the rest stays what it is. */
static bool drop_cluster(const struct qcow2_geometry *geo, u64 *raw, u64 *bitmap)
{
	bool data = geo->extended_l2 ? *bitmap & 0xffffffff : !(*raw & QCOW2_OFLAG_ZERO);

	if (geo->extended_l2) {
		*raw = 0;
		*bitmap = (*bitmap | *bitmap << 32) & ~0xffffffffULL;
	} else {
		*raw = geo->version >= 3 ? QCOW2_OFLAG_ZERO : 0;
	}
	return data;
}

bool repair_entry(const struct image *image, u64 goff, u64 *raw, u64 *bitmap)
{
	const struct qcow2_geometry *geo = &image->geo;
	u64 zero = geo->extended_l2 ? 0 : *raw & QCOW2_OFLAG_ZERO, both, hoff;
	bool lost = false;

	if (*raw & QCOW2_OFLAG_COMPRESSED) {
		lost = is_lost_compressed(image, raw, bitmap);
		if (lost) {
			*raw = 0;
			*bitmap = 0xffffffff;
			drop_cluster(geo, raw, bitmap);
		}
		return lost;
	}
	*raw &= ~QCOW2_L2_RESERVED_MASK;
	hoff = *raw & QCOW2_L2_HOFF_MASK;
	both = *bitmap >> 32 & *bitmap & 0xffffffff;
	if (both) {
		*bitmap &= ~both;
		lost = true;
	}
	if (!hoff && !(geo->data_file && *raw & QCOW2_OFLAG_COPIED && !zero)) {
		if (*bitmap & 0xffffffff)
			lost |= drop_cluster(geo, raw, bitmap);
		return lost;
	}
	if (!qcow2_in_cluster(geo, hoff) &&
	    (geo->data_file || !check_is_beyond(image, hoff, geo->cluster_size)))
		return lost;
	/* In a data file each cluster has its own place. */
	if (geo->data_file && goff != REPAIR_NOWHERE) {
		*raw = goff | zero | QCOW2_OFLAG_COPIED;
		return lost;
	}
	return drop_cluster(geo, raw, bitmap) || lost;
}

u64 repair_l1_entry(const struct image *image, u64 raw)
{
	u64 hoff = raw & QCOW2_L1_HOFF_MASK;

	if (qcow2_in_cluster(&image->geo, hoff) ||
	    check_is_beyond(image, hoff, image->geo.cluster_size))
		return 0;
	return hoff;
}
