// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Decoders, verifiers and encoders of the qcow2 header and its extensions.
 *
 * A verifier answers with the one rule that is broken, and never prints.
 * Limits are checked before anything is multiplied, sums are compared as
 * differences, so that no value in an image can wrap. Where the specification
 * and QEMU differ, what QEMU accepts is accepted unless it could never be used
 * safely.
 */
#include <linux/kernel.h>
#include <linux/types.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/build_bug.h>
#include <asm/byteorder.h>
#include "format.h"
#include "geometry.h"

/* ------------------------------------------------------------------------
 * The layout on disk, fixed for ever
 */
#define SIZE(type, size) \
	static_assert(sizeof(struct qcow2_##type##_disk) == (size))
#define AT(type, member, offset) \
	static_assert(offsetof(struct qcow2_##type##_disk, member) == (offset))

SIZE(header, 112);
AT(header, magic, 0);
AT(header, version, 4);
AT(header, backing_file_offset, 8);
AT(header, backing_file_size, 16);
AT(header, cluster_bits, 20);
AT(header, size, 24);
AT(header, crypt_method, 32);
AT(header, l1_size, 36);
AT(header, l1_table_offset, 40);
AT(header, refcount_table_offset, 48);
AT(header, refcount_table_clusters, 56);
AT(header, nb_snapshots, 60);
AT(header, snapshots_offset, 64);
AT(header, incompatible_features, QCOW2_HEADER_V2_LENGTH);
AT(header, compatible_features, 80);
AT(header, autoclear_features, 88);
AT(header, refcount_order, 96);
AT(header, header_length, 100);
AT(header, compression_type, QCOW2_HEADER_V3_LENGTH);
AT(header, padding, 105);
SIZE(extension, 8);
AT(extension, type, 0);
AT(extension, length, 4);
SIZE(feature_name, 48);
AT(feature_name, type, 0);
AT(feature_name, bit, 1);
AT(feature_name, name, 2);
SIZE(bitmaps, 24);
AT(bitmaps, nb_bitmaps, 0);
AT(bitmaps, reserved, 4);
AT(bitmaps, directory_size, 8);
AT(bitmaps, directory_offset, 16);
SIZE(crypto, 16);
AT(crypto, offset, 0);
AT(crypto, length, 8);
SIZE(snapshot, 40);
AT(snapshot, l1_table_offset, 0);
AT(snapshot, l1_size, 8);
AT(snapshot, id_str_size, 12);
AT(snapshot, name_size, 14);
AT(snapshot, date_sec, 16);
AT(snapshot, date_nsec, 20);
AT(snapshot, vm_clock_nsec, 24);
AT(snapshot, vm_state_size, 32);
AT(snapshot, extra_data_size, 36);
SIZE(snapshot_extra, 24);
AT(snapshot_extra, vm_state_size_large, 0);
AT(snapshot_extra, disk_size, 8);
AT(snapshot_extra, icount, 16);

#undef SIZE
#undef AT

/* ------------------------------------------------------------------------
 * Header
 */

/* May @bytes (already limited) at @hoff be a table of the image file? */
static enum qcow2_verdict place_verify(u64 hoff, u64 bytes, u32 cluster_bits,
				       enum qcow2_verdict unaligned,
				       enum qcow2_verdict range)
{
	if (hoff & (BIT_ULL(cluster_bits) - 1))
		return unaligned;
	if (bytes > QCOW2_MAX_HOFF || hoff > QCOW2_MAX_HOFF - bytes)
		return range;
	return QCOW2_OK;
}

static void header_decode_v2(const struct qcow2_header_disk *disk,
			     struct qcow2_header *h)
{
	h->cluster_bits = be32_to_cpu(disk->cluster_bits);
	h->size = be64_to_cpu(disk->size);
	h->crypt_method = be32_to_cpu(disk->crypt_method);
	h->l1_size = be32_to_cpu(disk->l1_size);
	h->l1_table_offset = be64_to_cpu(disk->l1_table_offset);
	h->refcount_table_offset = be64_to_cpu(disk->refcount_table_offset);
	h->refcount_table_clusters = be32_to_cpu(disk->refcount_table_clusters);
	h->nb_snapshots = be32_to_cpu(disk->nb_snapshots);
	h->snapshots_offset = be64_to_cpu(disk->snapshots_offset);
	h->refcount_order = 4;
	h->header_length = QCOW2_HEADER_V2_LENGTH;
}

static void header_decode_v3(const struct qcow2_header_disk *disk,
			     struct qcow2_header *h)
{
	h->incompatible_features = be64_to_cpu(disk->incompatible_features);
	h->compatible_features = be64_to_cpu(disk->compatible_features);
	h->autoclear_features = be64_to_cpu(disk->autoclear_features);
	h->refcount_order = be32_to_cpu(disk->refcount_order);
	h->header_length = be32_to_cpu(disk->header_length);
}

/* What must hold before anything can be found in cluster 0. */
static enum qcow2_verdict layout_verify(const struct qcow2_header_disk *disk,
					struct qcow2_header *h)
{
	u64 cluster_size, offset = be64_to_cpu(disk->backing_file_offset);
	u32 length = be32_to_cpu(disk->backing_file_size);

	if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
	    h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
		return QCOW2_BAD_CLUSTER_BITS;
	cluster_size = BIT_ULL(h->cluster_bits);
	if (h->version >= 3 && (h->header_length < QCOW2_HEADER_V3_LENGTH ||
				h->header_length > cluster_size))
		return QCOW2_BAD_HEADER_LENGTH;
	if (!offset)
		return QCOW2_OK;
	if (offset > cluster_size)
		return QCOW2_BACKING_OFFSET;
	if (length > QCOW2_MAX_NAME || length > cluster_size - offset)
		return QCOW2_BACKING_SIZE;
	h->backing_file.offset = offset;
	h->backing_file.length = length;
	return QCOW2_OK;
}

static enum qcow2_verdict features_verify(const struct qcow2_header *h)
{
	bool announced = h->incompatible_features & QCOW2_INCOMPAT_COMPRESSION;
	bool special = h->compression_type != QCOW2_COMPRESSION_DEFLATE;

	if (h->incompatible_features & ~QCOW2_INCOMPAT_KNOWN)
		return QCOW2_UNKNOWN_INCOMPATIBLE;
	if (h->refcount_order > QCOW2_MAX_REFCOUNT_ORDER)
		return QCOW2_BAD_REFCOUNT_ORDER;
	if (h->crypt_method > QCOW2_CRYPT_LUKS)
		return QCOW2_BAD_CRYPT_METHOD;
	if (h->compression_type > QCOW2_COMPRESSION_ZSTD)
		return QCOW2_COMPRESSION_UNKNOWN;
	if (announced != special)
		return QCOW2_COMPRESSION_MISMATCH;
	if ((h->incompatible_features & QCOW2_INCOMPAT_EXTENDED_L2) &&
	    h->cluster_bits < QCOW2_MIN_EXTENDED_L2_BITS)
		return QCOW2_SUBCLUSTER_TOO_SMALL;
	if ((h->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW) &&
	    !(h->incompatible_features & QCOW2_INCOMPAT_DATA_FILE))
		return QCOW2_RAW_WITHOUT_DATA_FILE;
	return QCOW2_OK;
}

static enum qcow2_verdict l1_verify(const struct qcow2_header *h)
{
	struct qcow2_geometry geo;
	u64 needed;

	qcow2_header_geometry(h, &geo);
	needed = qcow2_l1_needed(&geo, h->size);
	if (needed > QCOW2_MAX_L1_BYTES / sizeof(__be64))
		return QCOW2_BAD_SIZE;
	if (h->l1_size > QCOW2_MAX_L1_BYTES / sizeof(__be64))
		return QCOW2_L1_TOO_LARGE;
	if (h->l1_size < needed)
		return QCOW2_L1_TOO_SMALL;
	return place_verify(h->l1_table_offset, h->l1_size * sizeof(__be64),
			    h->cluster_bits, QCOW2_L1_UNALIGNED,
			    QCOW2_L1_RANGE);
}

static enum qcow2_verdict reftable_verify(const struct qcow2_header *h)
{
	u64 bytes = (u64)h->refcount_table_clusters << h->cluster_bits;

	if (bytes > QCOW2_MAX_REFTABLE_BYTES)
		return QCOW2_REFTABLE_TOO_LARGE;
	return place_verify(h->refcount_table_offset, bytes, h->cluster_bits,
			    QCOW2_REFTABLE_UNALIGNED, QCOW2_REFTABLE_RANGE);
}

/* The length of the snapshot table is unknown here: 40 bytes an entry at least. */
static u64 snapshots_bytes(const struct qcow2_header *h)
{
	return h->nb_snapshots * (u64)sizeof(struct qcow2_snapshot_disk);
}

static enum qcow2_verdict snapshots_verify(const struct qcow2_header *h)
{
	if (h->nb_snapshots > QCOW2_MAX_SNAPSHOTS)
		return QCOW2_SNAPSHOTS_TOO_MANY;
	return place_verify(h->snapshots_offset, snapshots_bytes(h),
			    h->cluster_bits, QCOW2_SNAPSHOTS_UNALIGNED,
			    QCOW2_SNAPSHOTS_RANGE);
}

/* All places are verified: aligned, and no sum can wrap. */
static enum qcow2_verdict overlap_verify(const struct qcow2_header *h)
{
	const struct { u64 hoff, bytes; } area[] = {
		{ 0, BIT_ULL(h->cluster_bits) },
		{ h->l1_table_offset, h->l1_size * sizeof(__be64) },
		{ h->refcount_table_offset,
		  (u64)h->refcount_table_clusters << h->cluster_bits },
		{ h->snapshots_offset, snapshots_bytes(h) },
	};
	unsigned int i, j;

	for (i = 1; i < ARRAY_SIZE(area); i++) {
		for (j = 0; j < i; j++) {
			if (area[i].bytes && area[j].bytes &&
			    area[i].hoff < area[j].hoff + area[j].bytes &&
			    area[j].hoff < area[i].hoff + area[i].bytes)
				return QCOW2_TABLES_OVERLAP;
		}
	}
	return QCOW2_OK;
}

enum qcow2_verdict qcow2_header_decode(const void *buf, size_t len,
				       struct qcow2_header *h)
{
	const struct qcow2_header_disk *disk = buf;
	enum qcow2_verdict verdict;

	memset(h, 0, sizeof(*h));
	if (len < sizeof(disk->magic) ||
	    be32_to_cpu(disk->magic) != QCOW2_MAGIC)
		return QCOW2_NOT_QCOW2;
	if (len < QCOW2_HEADER_V2_LENGTH)
		return QCOW2_HEADER_TRUNCATED;
	h->version = be32_to_cpu(disk->version);
	if (h->version != 2 && h->version != 3)
		return QCOW2_BAD_VERSION;
	if (h->version >= 3 && len < QCOW2_HEADER_V3_LENGTH)
		return QCOW2_HEADER_TRUNCATED;
	header_decode_v2(disk, h);
	if (h->version >= 3)
		header_decode_v3(disk, h);
	if (h->header_length > QCOW2_HEADER_V3_LENGTH) {
		if (len <= offsetof(struct qcow2_header_disk, compression_type))
			return QCOW2_HEADER_TRUNCATED;
		h->compression_type = disk->compression_type;
	}

	verdict = layout_verify(disk, h);
	if (!verdict)
		verdict = features_verify(h);
	if (!verdict)
		verdict = l1_verify(h);
	h->size &= ~(BIT_ULL(QCOW2_SECTOR_BITS) - 1);
	if (!verdict)
		verdict = reftable_verify(h);
	if (!verdict)
		verdict = snapshots_verify(h);
	if (!verdict)
		verdict = overlap_verify(h);
	if (!verdict && !h->refcount_table_clusters)
		verdict = QCOW2_REFTABLE_EMPTY;
	return verdict;
}

u32 qcow2_header_encode(const struct qcow2_header *h,
			struct qcow2_header_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	disk->magic = cpu_to_be32(QCOW2_MAGIC);
	disk->version = cpu_to_be32(h->version);
	disk->backing_file_offset = cpu_to_be64(h->backing_file.offset);
	disk->backing_file_size = cpu_to_be32(h->backing_file.length);
	disk->cluster_bits = cpu_to_be32(h->cluster_bits);
	disk->size = cpu_to_be64(h->size);
	disk->crypt_method = cpu_to_be32(h->crypt_method);
	disk->l1_size = cpu_to_be32(h->l1_size);
	disk->l1_table_offset = cpu_to_be64(h->l1_table_offset);
	disk->refcount_table_offset = cpu_to_be64(h->refcount_table_offset);
	disk->refcount_table_clusters = cpu_to_be32(h->refcount_table_clusters);
	disk->nb_snapshots = cpu_to_be32(h->nb_snapshots);
	disk->snapshots_offset = cpu_to_be64(h->snapshots_offset);
	if (h->version < 3)
		return QCOW2_HEADER_V2_LENGTH;
	disk->incompatible_features = cpu_to_be64(h->incompatible_features);
	disk->compatible_features = cpu_to_be64(h->compatible_features);
	disk->autoclear_features = cpu_to_be64(h->autoclear_features);
	disk->refcount_order = cpu_to_be32(h->refcount_order);
	disk->header_length = cpu_to_be32(h->header_length);
	if (h->header_length > QCOW2_HEADER_V3_LENGTH)
		disk->compression_type = h->compression_type;
	return h->header_length < sizeof(*disk) ? h->header_length :
						  sizeof(*disk);
}

void qcow2_header_geometry(const struct qcow2_header *h,
			   struct qcow2_geometry *geo)
{
	qcow2_geometry_init(geo, h->version, h->cluster_bits, h->refcount_order,
			    h->incompatible_features & QCOW2_INCOMPAT_EXTENDED_L2,
			    h->incompatible_features & QCOW2_INCOMPAT_DATA_FILE,
			    h->size);
}

/* ------------------------------------------------------------------------
 * Header extensions
 */

/* Where the extension area ends: at the backing file name or with cluster 0. */
static u32 extensions_end(const struct qcow2_header *h)
{
	return h->backing_file.offset ? h->backing_file.offset :
					1U << h->cluster_bits;
}

/*
 * Read the extension at *@pos and move *@pos behind it; type QCOW2_EXT_END at
 * the end of the area. A record must lie within the area and within the bytes
 * that there are, even the END record.
 */
static enum qcow2_verdict extension_step(const u8 *cluster, size_t len,
					 const struct qcow2_header *h, u32 *pos,
					 u32 *type, struct qcow2_string *data)
{
	const struct qcow2_extension_disk *disk;
	u32 end = extensions_end(h), limit = len < end ? len : end;

	*type = QCOW2_EXT_END;
	if (*pos >= end)
		return QCOW2_OK;
	if (*pos > limit || limit - *pos < sizeof(*disk))
		return QCOW2_EXT_RANGE;
	disk = (const struct qcow2_extension_disk *)(cluster + *pos);
	data->offset = *pos + sizeof(*disk);
	data->length = be32_to_cpu(disk->length);
	if (data->length > limit - data->offset)
		return QCOW2_EXT_RANGE;
	*type = be32_to_cpu(disk->type);
	*pos = data->offset + ((data->length + 7) & ~7U);
	return QCOW2_OK;
}

bool qcow2_extension_next(const void *cluster, size_t len,
			  const struct qcow2_header *h, u32 *pos, u32 *type,
			  struct qcow2_string *data)
{
	if (!*pos)
		*pos = h->header_length;
	return extension_step(cluster, len, h, pos, type, data) == QCOW2_OK &&
	       *type != QCOW2_EXT_END;
}

static enum qcow2_verdict bitmaps_decode(const u8 *data, u32 length,
					 struct qcow2_header *h)
{
	const struct qcow2_bitmaps_disk *disk = (const void *)data;

	if (length != sizeof(*disk))
		return QCOW2_EXT_BITMAPS_SIZE;
	/* Written by someone who knows no bitmaps: they are stale, not broken. */
	if (!(h->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		return QCOW2_OK;
	h->has_bitmaps = true;
	h->nb_bitmaps = be32_to_cpu(disk->nb_bitmaps);
	h->bitmap_directory_size = be64_to_cpu(disk->directory_size);
	h->bitmap_directory_offset = be64_to_cpu(disk->directory_offset);
	if (disk->reserved || !h->nb_bitmaps ||
	    h->nb_bitmaps > QCOW2_MAX_BITMAPS || !h->bitmap_directory_size ||
	    h->bitmap_directory_size > QCOW2_MAX_BITMAP_DIR_BYTES ||
	    !h->bitmap_directory_offset)
		return QCOW2_EXT_BITMAPS_VALUES;
	return place_verify(h->bitmap_directory_offset,
			    h->bitmap_directory_size, h->cluster_bits,
			    QCOW2_EXT_BITMAPS_VALUES, QCOW2_EXT_BITMAPS_VALUES);
}

static enum qcow2_verdict crypto_decode(const u8 *data, u32 length,
					struct qcow2_header *h)
{
	const struct qcow2_crypto_disk *disk = (const void *)data;

	if (h->crypt_method != QCOW2_CRYPT_LUKS)
		return QCOW2_EXT_CRYPTO_MISMATCH;
	if (length != sizeof(*disk))
		return QCOW2_EXT_CRYPTO_SIZE;
	h->crypto_offset = be64_to_cpu(disk->offset);
	h->crypto_length = be64_to_cpu(disk->length);
	if (!h->crypto_offset || !h->crypto_length)
		return QCOW2_EXT_CRYPTO_VALUES;
	return place_verify(h->crypto_offset, h->crypto_length, h->cluster_bits,
			    QCOW2_EXT_CRYPTO_VALUES, QCOW2_EXT_CRYPTO_VALUES);
}

/* Of several extensions of one type the last one counts, as in QEMU. */
static enum qcow2_verdict extension_decode(const u8 *cluster, u32 type,
					   struct qcow2_string data,
					   struct qcow2_header *h)
{
	switch (type) {
	case QCOW2_EXT_BACKING_FORMAT:
		if (data.length > QCOW2_MAX_BACKING_FORMAT)
			return QCOW2_EXT_BACKING_FORMAT_SIZE;
		h->backing_format = data;
		return QCOW2_OK;
	case QCOW2_EXT_FEATURE_NAMES:
		h->feature_names = data;
		return QCOW2_OK;
	case QCOW2_EXT_DATA_FILE:
		if (data.length > QCOW2_MAX_DATA_FILE)
			return QCOW2_EXT_DATA_FILE_SIZE;
		h->data_file = data;
		return QCOW2_OK;
	case QCOW2_EXT_BITMAPS:
		return bitmaps_decode(cluster + data.offset, data.length, h);
	case QCOW2_EXT_CRYPTO:
		return crypto_decode(cluster + data.offset, data.length, h);
	default:
		return QCOW2_OK;
	}
}

enum qcow2_verdict qcow2_header_extensions(const void *cluster, size_t len,
					   struct qcow2_header *h)
{
	struct qcow2_string data;
	enum qcow2_verdict verdict;
	u32 type, pos = h->header_length;

	for (;;) {
		verdict = extension_step(cluster, len, h, &pos, &type, &data);
		if (verdict)
			return verdict;
		if (type == QCOW2_EXT_END)
			break;
		verdict = extension_decode(cluster, type, data, h);
		if (verdict)
			return verdict;
	}

	if (h->crypt_method == QCOW2_CRYPT_LUKS && !h->crypto_offset)
		return QCOW2_EXT_CRYPTO_MISMATCH;
	if (h->backing_file.length &&
	    (len < h->backing_file.offset ||
	     len - h->backing_file.offset < h->backing_file.length))
		return QCOW2_BACKING_SIZE;
	return QCOW2_OK;
}

static const struct {
	u8 type;
	u8 bit;
	const char *name;
} known_features[] = {
	{ 0, 0, "dirty bit" },
	{ 0, 1, "corrupt bit" },
	{ 0, 2, "external data file" },
	{ 0, 3, "compression type" },
	{ 0, 4, "extended L2 entries" },
	{ 1, 0, "lazy refcounts" },
	{ 2, 0, "bitmaps" },
	{ 2, 1, "raw external data" },
};

/* The image's own name for a feature, or NULL; *@length is at most 46. */
static const char *feature_lookup(const u8 *cluster, size_t len,
				  const struct qcow2_string *table,
				  unsigned int type, unsigned int bit,
				  size_t *length)
{
	const struct qcow2_feature_name_disk *disk;
	u32 pos;

	if (table->offset > len || table->length > len - table->offset)
		return NULL;
	for (pos = 0; table->length - pos >= sizeof(*disk);
	     pos += sizeof(*disk)) {
		disk = (const void *)(cluster + table->offset + pos);
		*length = strnlen(disk->name, sizeof(disk->name));
		if (disk->type == type && disk->bit == bit && *length)
			return disk->name;
	}
	return NULL;
}

void qcow2_feature_name(const void *cluster, size_t len,
			const struct qcow2_header *h, unsigned int type,
			unsigned int bit, char *name, size_t size)
{
	size_t i, length;
	const char *found = feature_lookup(cluster, len, &h->feature_names,
					   type, bit, &length);

	if (!size)
		return;
	if (!found) {
		found = "unknown";
		for (i = 0; i < ARRAY_SIZE(known_features); i++) {
			if (known_features[i].type == type &&
			    known_features[i].bit == bit)
				found = known_features[i].name;
		}
		length = strlen(found);
	}
	for (i = 0; i < length && i < size - 1; i++)
		name[i] = found[i] >= ' ' && found[i] <= '~' ? found[i] : '?';
	name[i] = '\0';
}
