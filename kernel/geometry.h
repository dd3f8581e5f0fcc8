/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Units and index arithmetic of one image: guest and host offsets, clusters,
 * table indices. The only place that shifts by cluster_bits.
 *
 * Names: goff, hoff are bytes in the guest disk and in the host file; gclu,
 * hclu are cluster numbers; a slice is the unit of the metadata cache.
 */
#ifndef QCOW2_GEOMETRY_H
#define QCOW2_GEOMETRY_H

#include <linux/types.h>

#define QCOW2_SLICE_BITS	12	/* slices are 4 KiB, or one smaller cluster */
#define QCOW2_SECTOR_BITS	9
#define QCOW2_SUBCLUSTERS_BITS	5
#define QCOW2_SUBCLUSTERS	32U	/* in a cluster with extended L2 */

struct qcow2_geometry {
	u64 virtual_size;		/* bytes, multiple of 512 */
	u32 cluster_size;		/* bytes */
	u8 version;
	u8 cluster_bits;
	u8 subcluster_bits;		/* cluster_bits without extended L2 */
	u8 l2_entry_bits;		/* log2 of bytes per L2 entry: 3, or 4 extended */
	u8 l2_bits;			/* log2 of entries per L2 table */
	u8 refcount_order;
	u8 refblock_bits;		/* log2 of counts per refcount block */
	u8 slice_bits;			/* log2 of bytes per cache slice */
	u8 compressed_bits;		/* bits of the host offset in a compressed entry */
	bool extended_l2;
	bool data_file;
};

static inline void qcow2_geometry_init(struct qcow2_geometry *geo, u32 version,
				       u32 cluster_bits, u32 refcount_order,
				       bool extended_l2, bool data_file,
				       u64 virtual_size)
{
	geo->virtual_size = virtual_size;
	geo->cluster_size = 1U << cluster_bits;
	geo->version = version;
	geo->cluster_bits = cluster_bits;
	geo->subcluster_bits = extended_l2 ? cluster_bits - QCOW2_SUBCLUSTERS_BITS : cluster_bits;
	geo->l2_entry_bits = extended_l2 ? 4 : 3;
	geo->l2_bits = cluster_bits - geo->l2_entry_bits;
	geo->refcount_order = refcount_order;
	geo->refblock_bits = cluster_bits + 3 - refcount_order;
	geo->slice_bits = cluster_bits < QCOW2_SLICE_BITS ?
			  cluster_bits : QCOW2_SLICE_BITS;
	geo->compressed_bits = 62 - (cluster_bits - 8);
	geo->extended_l2 = extended_l2;
	geo->data_file = data_file;
}

static inline u64 qcow2_to_clu(const struct qcow2_geometry *geo, u64 off)
{
	return off >> geo->cluster_bits;
}

static inline u64 qcow2_to_off(const struct qcow2_geometry *geo, u64 clu)
{
	return clu << geo->cluster_bits;
}

/* Offset inside its cluster. */
static inline u32 qcow2_in_cluster(const struct qcow2_geometry *geo, u64 off)
{
	return off & (geo->cluster_size - 1);
}

/*
 * Bytes that are allocated at once: a subcluster of an image with extended L2,
 * else the cluster, which is its own only subcluster then.
 */
static inline u32 qcow2_subcluster_size(const struct qcow2_geometry *geo)
{
	return 1U << geo->subcluster_bits;
}

/* Offset inside its subcluster. */
static inline u32 qcow2_in_subcluster(const struct qcow2_geometry *geo, u64 off)
{
	return off & (qcow2_subcluster_size(geo) - 1);
}

/* Which of its cluster's subclusters @off lies in. */
static inline u32 qcow2_subcluster_index(const struct qcow2_geometry *geo, u64 off)
{
	return qcow2_in_cluster(geo, off) >> geo->subcluster_bits;
}

/* One bit for each subcluster of a cluster that bytes [@from, @to) of it touch; @from < @to. */
static inline u32 qcow2_subcluster_mask(const struct qcow2_geometry *geo, u32 from, u32 to)
{
	u32 first = from >> geo->subcluster_bits, last = (to - 1) >> geo->subcluster_bits;

	return (~0U >> (QCOW2_SUBCLUSTERS - 1 - (last - first))) << first;
}

static inline u64 qcow2_round_up(const struct qcow2_geometry *geo, u64 off)
{
	return (off + geo->cluster_size - 1) & ~(u64)(geo->cluster_size - 1);
}

/* log2 of the guest bytes that one L2 table maps. */
static inline u32 qcow2_l1_shift(const struct qcow2_geometry *geo)
{
	return geo->cluster_bits + geo->l2_bits;
}

static inline u64 qcow2_l1_index(const struct qcow2_geometry *geo, u64 goff)
{
	return goff >> qcow2_l1_shift(geo);
}

static inline u32 qcow2_l2_index(const struct qcow2_geometry *geo, u64 goff)
{
	return (goff >> geo->cluster_bits) & ((1U << geo->l2_bits) - 1);
}

/* L1 entries that a disk of @size bytes needs. */
static inline u64 qcow2_l1_needed(const struct qcow2_geometry *geo, u64 size)
{
	u32 shift = qcow2_l1_shift(geo);

	return (size >> shift) + !!(size & (((u64)1 << shift) - 1));
}

static inline u64 qcow2_reftable_index(const struct qcow2_geometry *geo, u64 hclu)
{
	return hclu >> geo->refblock_bits;
}

static inline u32 qcow2_refblock_index(const struct qcow2_geometry *geo, u64 hclu)
{
	return hclu & ((1ULL << geo->refblock_bits) - 1);
}

static inline u32 qcow2_slice_size(const struct qcow2_geometry *geo)
{
	return 1U << geo->slice_bits;
}

/* Start of the slice that holds host offset @hoff. */
static inline u64 qcow2_slice_start(const struct qcow2_geometry *geo, u64 hoff)
{
	return hoff & ~(u64)(qcow2_slice_size(geo) - 1);
}

/* Host clusters touched by the compressed bytes [@hoff, @hoff + @length). */
static inline u64 qcow2_compressed_last_clu(const struct qcow2_geometry *geo,
					    u64 hoff, u32 length)
{
	return (hoff + length - 1) >> geo->cluster_bits;
}

#endif
