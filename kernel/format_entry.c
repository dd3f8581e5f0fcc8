// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Decoders and encoders of single table entries: L1, L2, refcount table,
 * refcount block.
 *
 * A decoder accepts what QEMU accepts when it maps a request: reserved bits
 * are masked. The *_check() functions are stricter and serve a consistency
 * check only.
 */
#include <linux/types.h>
#include <linux/string.h>
#include <asm/byteorder.h>
#include "format.h"
#include "geometry.h"

/* ------------------------------------------------------------------------
 * L1
 */
enum qcow2_verdict qcow2_l1_decode(const struct qcow2_geometry *geo, u64 raw,
				   u64 *hoff, bool *copied)
{
	*hoff = raw & QCOW2_L1_HOFF_MASK;
	*copied = raw & QCOW2_OFLAG_COPIED;
	if (qcow2_in_cluster(geo, *hoff))
		return QCOW2_L1_ENTRY_UNALIGNED;
	if (*copied && !*hoff)
		return QCOW2_L1_ENTRY_COPIED_EMPTY;
	return QCOW2_OK;
}

u64 qcow2_l1_encode(u64 hoff, bool copied)
{
	return hoff | (copied ? QCOW2_OFLAG_COPIED : 0);
}

enum qcow2_verdict qcow2_l1_check(const struct qcow2_geometry *geo, u64 raw)
{
	u64 hoff;
	bool copied;

	if (raw & QCOW2_L1_RESERVED_MASK)
		return QCOW2_L1_ENTRY_RESERVED;
	return qcow2_l1_decode(geo, raw, &hoff, &copied);
}

/* ------------------------------------------------------------------------
 * L2
 */

/*
 * A compressed entry holds the byte offset in its low compressed_bits bits and
 * above them the number of further sectors; the first sector starts where the
 * offset's sector does, so the bytes available depend on the offset.
 */
static enum qcow2_verdict compressed_decode(const struct qcow2_geometry *geo,
					    u64 raw,
					    struct qcow2_l2_entry *entry)
{
	u64 sectors = ((raw & ~(QCOW2_OFLAG_COPIED | QCOW2_OFLAG_COMPRESSED)) >>
		       geo->compressed_bits) + 1;

	entry->kind = QCOW2_CLUSTER_COMPRESSED;
	entry->hoff = raw & (BIT_ULL(geo->compressed_bits) - 1);
	entry->compressed_length = (sectors << QCOW2_SECTOR_BITS) -
				   (entry->hoff & 511);
	if (geo->data_file)
		return QCOW2_L2_ENTRY_DATA_FILE;
	if ((raw & QCOW2_OFLAG_COPIED) ||
	    entry->hoff > QCOW2_MAX_HOFF - entry->compressed_length)
		return QCOW2_L2_ENTRY_COMPRESSED;
	return QCOW2_OK;
}

static enum qcow2_verdict subclusters_decode(u64 bitmap,
					     struct qcow2_l2_entry *entry)
{
	entry->alloc = bitmap;
	entry->zero = bitmap >> 32;
	if ((entry->alloc & entry->zero) || (entry->alloc && !entry->has_host))
		return QCOW2_L2_ENTRY_SUBCLUSTERS;
	if (!~entry->alloc)
		entry->kind = QCOW2_CLUSTER_DATA;
	else if (!~entry->zero)
		entry->kind = entry->has_host ? QCOW2_CLUSTER_ZERO_ALLOC :
						QCOW2_CLUSTER_ZERO_PLAIN;
	else if (!bitmap && !entry->has_host)
		entry->kind = QCOW2_CLUSTER_UNALLOCATED;
	else
		entry->kind = QCOW2_CLUSTER_SUBCLUSTERS;
	return QCOW2_OK;
}

/*
 * Offset 0 means no host cluster, but in an external data file it is where
 * guest cluster 0 lives: there COPIED tells the two apart.
 */
enum qcow2_verdict qcow2_l2_decode(const struct qcow2_geometry *geo, u64 raw,
				   u64 bitmap, struct qcow2_l2_entry *entry)
{
	bool copied = raw & QCOW2_OFLAG_COPIED;
	bool zero = !geo->extended_l2 && (raw & QCOW2_OFLAG_ZERO);

	memset(entry, 0, sizeof(*entry));
	if (raw & QCOW2_OFLAG_COMPRESSED)
		return compressed_decode(geo, raw, entry);
	entry->hoff = raw & QCOW2_L2_HOFF_MASK;
	entry->has_host = entry->hoff || (geo->data_file && copied && !zero);
	entry->copied = entry->has_host && copied;
	if (qcow2_in_cluster(geo, entry->hoff))
		return QCOW2_L2_ENTRY_UNALIGNED;
	if (geo->extended_l2)
		return subclusters_decode(bitmap, entry);
	if (zero && geo->version < 3)
		return QCOW2_L2_ENTRY_ZERO_V2;
	if (zero)
		entry->kind = entry->has_host ? QCOW2_CLUSTER_ZERO_ALLOC :
						QCOW2_CLUSTER_ZERO_PLAIN;
	else
		entry->kind = entry->has_host ? QCOW2_CLUSTER_DATA :
						QCOW2_CLUSTER_UNALLOCATED;
	return QCOW2_OK;
}

enum qcow2_verdict qcow2_l2_data_file(const struct qcow2_l2_entry *entry,
				      u64 goff)
{
	if (entry->kind == QCOW2_CLUSTER_COMPRESSED ||
	    (entry->has_host && entry->hoff != goff))
		return QCOW2_L2_ENTRY_DATA_FILE;
	return QCOW2_OK;
}

u64 qcow2_l2_encode(enum qcow2_cluster_kind kind, u64 hoff, bool copied)
{
	u64 raw = hoff | (copied ? QCOW2_OFLAG_COPIED : 0);

	switch (kind) {
	case QCOW2_CLUSTER_ZERO_PLAIN:
		return QCOW2_OFLAG_ZERO;
	case QCOW2_CLUSTER_ZERO_ALLOC:
		return raw | QCOW2_OFLAG_ZERO;
	case QCOW2_CLUSTER_DATA:
	case QCOW2_CLUSTER_SUBCLUSTERS:
		return raw;
	default:
		return 0;
	}
}

u64 qcow2_l2_encode_bitmap(u32 alloc, u32 zero)
{
	return (u64)zero << 32 | alloc;
}

/* How many bits of @mask are set in a row from bit @index on. */
static u32 bits_in_row(u32 mask, u32 index)
{
	u32 clear = ~(mask >> index);

	return clear ? (u32)__builtin_ctz(clear) : QCOW2_SUBCLUSTERS;
}

enum qcow2_cluster_kind qcow2_l2_subcluster(const struct qcow2_l2_entry *entry,
					    u32 index, u32 *run)
{
	u32 bit = BIT_ULL(index);

	if (entry->kind == QCOW2_CLUSTER_COMPRESSED) {
		*run = QCOW2_SUBCLUSTERS - index;
		return QCOW2_CLUSTER_COMPRESSED;
	}
	if (entry->alloc & bit) {
		*run = bits_in_row(entry->alloc, index);
		return QCOW2_CLUSTER_DATA;
	}
	if (entry->zero & bit) {
		*run = bits_in_row(entry->zero, index);
		return entry->has_host ? QCOW2_CLUSTER_ZERO_ALLOC :
					 QCOW2_CLUSTER_ZERO_PLAIN;
	}
	*run = bits_in_row(~(entry->alloc | entry->zero), index);
	return QCOW2_CLUSTER_UNALLOCATED;
}

enum qcow2_verdict qcow2_l2_check(const struct qcow2_geometry *geo, u64 raw,
				  u64 bitmap)
{
	struct qcow2_l2_entry entry;

	if ((raw & QCOW2_OFLAG_COMPRESSED) && geo->extended_l2 && bitmap)
		return QCOW2_L2_ENTRY_SUBCLUSTERS;
	if (!(raw & QCOW2_OFLAG_COMPRESSED) && (raw & QCOW2_L2_RESERVED_MASK))
		return QCOW2_L2_ENTRY_RESERVED;
	return qcow2_l2_decode(geo, raw, bitmap, &entry);
}

/* ------------------------------------------------------------------------
 * Refcounts: big-endian from 16 bits up, below that from the low end of a byte
 */
u64 qcow2_refcount_max(u32 order)
{
	return ~0ULL >> (64 - (1U << order));
}

u64 qcow2_refcount_get(const void *block, u32 index, u32 order)
{
	u32 shift;

	switch (order) {
	case 3:
		return ((const u8 *)block)[index];
	case 4:
		return be16_to_cpu(((const __be16 *)block)[index]);
	case 5:
		return be32_to_cpu(((const __be32 *)block)[index]);
	case 6:
		return be64_to_cpu(((const __be64 *)block)[index]);
	default:
		shift = (index << order) & 7;
		return (((const u8 *)block)[index >> (3 - order)] >> shift) &
		       qcow2_refcount_max(order);
	}
}

void qcow2_refcount_set(void *block, u32 index, u32 order, u64 value)
{
	u32 shift;
	u8 *byte;

	switch (order) {
	case 3:
		((u8 *)block)[index] = value;
		return;
	case 4:
		((__be16 *)block)[index] = cpu_to_be16(value);
		return;
	case 5:
		((__be32 *)block)[index] = cpu_to_be32(value);
		return;
	case 6:
		((__be64 *)block)[index] = cpu_to_be64(value);
		return;
	default:
		shift = (index << order) & 7;
		byte = (u8 *)block + (index >> (3 - order));
		*byte &= ~(qcow2_refcount_max(order) << shift);
		*byte |= value << shift;
	}
}

enum qcow2_verdict qcow2_reftable_decode(const struct qcow2_geometry *geo,
					 u64 raw, u64 *hoff)
{
	*hoff = raw & QCOW2_REFTABLE_HOFF_MASK;
	if (qcow2_in_cluster(geo, *hoff))
		return QCOW2_REFTABLE_ENTRY_UNALIGNED;
	if (*hoff >= QCOW2_MAX_HOFF)
		return QCOW2_REFTABLE_ENTRY_RANGE;
	return QCOW2_OK;
}

enum qcow2_verdict qcow2_reftable_check(const struct qcow2_geometry *geo,
					u64 raw)
{
	u64 hoff;

	if (raw & QCOW2_REFTABLE_RESERVED_MASK)
		return QCOW2_REFTABLE_ENTRY_RESERVED;
	return qcow2_reftable_decode(geo, raw, &hoff);
}
