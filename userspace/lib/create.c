// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Make a new image, laid out as
 *
 *	header | refcount table | refcount blocks | L1 table | L2 tables
 *
 * L2 tables are there only with a raw data file, whose content counts without
 * any metadata: then every cluster is mapped to its own place at once.
 *
 * Everything is durable before the header is written: at no moment is there a
 * file or device that looks like an image and is none.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <asm/byteorder.h>
#include "create_layout.h"
#include "err.h"
#include "../../kernel/format.h"
#include "../../kernel/geometry.h"
#include "image.h"
#include "mem.h"

#define MIN_NAMES_CLUSTER	8192	/* QEMU writes the feature names from here on */

/* ------------------------------------------------------------------------
 * Layout
 */

u64 create_divide(u64 value, u64 by)
{
	return value / by + !!(value % by);
}

void create_lay_out_counts(struct create_layout *l, u64 fixed)
{
	u64 old;

	l->clusters = fixed;
	do {
		old = l->clusters;
		l->refblock_clusters = create_divide(l->clusters, 1ULL << l->geo.refblock_bits);
		l->reftable_clusters =
			create_divide(l->refblock_clusters * sizeof(__be64), l->geo.cluster_size);
		l->clusters = fixed + l->refblock_clusters + l->reftable_clusters;
	} while (l->clusters != old);
}

static int lay_out(const struct create_request *request, u64 size, struct create_layout *l)
{
	struct qcow2_geometry *geo = &l->geo;

	qcow2_geometry_init(geo, request->version, request->cluster_bits, request->refcount_order,
			    request->extended_l2, request->data_file, size);
	l->l1_entries = qcow2_l1_needed(geo, size);
	if (l->l1_entries > QCOW2_MAX_L1_BYTES / sizeof(__be64)) {
		err_fail(ERR_FAILED, request->path,
			 "a disk of %llu bytes needs clusters larger than %u bytes",
			 (unsigned long long)size, geo->cluster_size);
		err_hint("use a larger --cluster-size");
		return ERR_FAILED;
	}
	if (!l->l1_entries)
		l->l1_entries = 1;
	l->l1_clusters = create_divide(l->l1_entries * sizeof(__be64), geo->cluster_size);
	l->l2_clusters = request->data_file_raw ? qcow2_l1_needed(geo, size) : 0;
	create_lay_out_counts(l, 1 + l->l1_clusters + l->l2_clusters);
	l->reftable = 1;
	l->refblocks = l->reftable + l->reftable_clusters;
	l->l1 = l->refblocks + l->refblock_clusters;
	l->l2 = l->l1 + l->l1_clusters;
	return 0;
}

/* ------------------------------------------------------------------------
 * Header
 */

struct header_buffer {
	char *cluster;
	u32 size, pos;
	bool full;
};

static void put_bytes(struct header_buffer *b, const void *data, u32 len)
{
	if (b->full || len > b->size - b->pos) {
		b->full = true;
		return;
	}
	if (len)
		memcpy(b->cluster + b->pos, data, len);
	b->pos += len;
}

static void put_extension(struct header_buffer *b, enum qcow2_extension_type type, const void *data,
			  u32 len)
{
	struct qcow2_extension_disk disk = {
		.type = cpu_to_be32(type), .length = cpu_to_be32(len),
	};
	static const char padding[8];

	put_bytes(b, &disk, sizeof(disk));
	put_bytes(b, data, len);
	put_bytes(b, padding, -len & 7);
}

/* For older programs that meet a feature which they do not know. */
static void put_feature_names(struct header_buffer *b)
{
	const u64 known[] = { QCOW2_INCOMPAT_KNOWN, QCOW2_COMPAT_LAZY_REFCOUNTS,
			      QCOW2_AUTOCLEAR_KNOWN };
	static const struct qcow2_header no_names;
	struct qcow2_feature_name_disk names[16];
	unsigned int type, bit, count = 0;

	memset(names, 0, sizeof(names));
	for (type = 0; type < 3; type++) {
		for (bit = 0; bit < 64 && count < 16; bit++) {
			if (!(known[type] & BIT_ULL(bit)))
				continue;
			names[count].type = type;
			names[count].bit = bit;
			qcow2_feature_name(NULL, 0, &no_names, type, bit, names[count].name,
					   sizeof(names[count].name));
			count++;
		}
	}
	put_extension(b, QCOW2_EXT_FEATURE_NAMES, names, count * sizeof(names[0]));
}

static void set_features(const struct create_request *request, struct qcow2_header *h)
{
	if (request->data_file)
		h->incompatible_features |= QCOW2_INCOMPAT_DATA_FILE;
	if (request->data_file_raw)
		h->autoclear_features |= QCOW2_AUTOCLEAR_DATA_FILE_RAW;
	if (request->zstd) {
		h->incompatible_features |= QCOW2_INCOMPAT_COMPRESSION;
		h->compression_type = QCOW2_COMPRESSION_ZSTD;
	}
	if (request->extended_l2)
		h->incompatible_features |= QCOW2_INCOMPAT_EXTENDED_L2;
	if (request->lazy_refcounts)
		h->compatible_features |= QCOW2_COMPAT_LAZY_REFCOUNTS;
}

static void put_extensions(const struct create_request *request, struct header_buffer *b)
{
	const char *format = request->backing_raw ? "raw" : "qcow2";

	if (request->backing)
		put_extension(b, QCOW2_EXT_BACKING_FORMAT, format, strlen(format));
	if (request->data_file)
		put_extension(b, QCOW2_EXT_DATA_FILE, request->data_file,
			      strlen(request->data_file));
	if (request->version >= 3 && b->size >= MIN_NAMES_CLUSTER)
		put_feature_names(b);
	put_extension(b, QCOW2_EXT_END, NULL, 0);
}

char *create_header(const struct create_request *request, const struct create_layout *l)
{
	struct header_buffer b = { .size = l->geo.cluster_size };
	struct qcow2_header_disk disk;
	struct qcow2_header h = {
		.version = request->version,
		.cluster_bits = request->cluster_bits,
		.size = l->geo.virtual_size,
		.l1_size = l->l1_entries,
		.l1_table_offset = qcow2_to_off(&l->geo, l->l1),
		.refcount_table_offset = qcow2_to_off(&l->geo, l->reftable),
		.refcount_table_clusters = l->reftable_clusters,
		.refcount_order = request->refcount_order,
		.header_length = request->version >= 3 ? sizeof(disk) : QCOW2_HEADER_V2_LENGTH,
	};

	set_features(request, &h);
	b.cluster = mem_zalloc(b.size);
	b.pos = h.header_length;
	put_extensions(request, &b);
	if (request->backing) {
		h.backing_file.offset = b.pos;
		h.backing_file.length = strlen(request->backing);
		put_bytes(&b, request->backing, h.backing_file.length);
	}
	if (b.full || h.backing_file.length > QCOW2_MAX_NAME) {
		err_fail(ERR_FAILED, request->path,
			 "the names of its files are too long for the header");
		free(b.cluster);
		return NULL;
	}
	memcpy(b.cluster, &disk, qcow2_header_encode(&h, &disk));
	return b.cluster;
}

/* ------------------------------------------------------------------------
 * Tables
 */

int create_write_cluster(struct newfile *file, const struct create_layout *l, u64 clu, const void *data)
{
	return newfile_write(file, qcow2_to_off(&l->geo, clu), data, l->geo.cluster_size);
}

int create_write_pointers(struct newfile *file, const struct create_layout *l, u64 first, u64 to,
			  u64 entries, u64 flags)
{
	u64 per_cluster = l->geo.cluster_size / sizeof(__be64), i, n = 0;
	MEM_FREE __be64 *table = NULL;
	int ret = 0;

	for (i = 0; !ret && i < entries; i += n) {
		free(table);
		table = mem_zalloc(l->geo.cluster_size);
		for (n = 0; n < per_cluster && i + n < entries; n++)
			table[n] = cpu_to_be64(qcow2_to_off(&l->geo, to + i + n) | flags);
		ret = create_write_cluster(file, l, first + i / per_cluster, table);
	}
	return ret;
}

int create_write_counts(struct newfile *file, const struct create_layout *l)
{
	u64 per_block = 1ULL << l->geo.refblock_bits, block, clu;
	MEM_FREE void *counts = mem_zalloc(l->geo.cluster_size);
	int ret = 0;

	for (block = 0; !ret && block < l->refblock_clusters; block++) {
		memset(counts, 0, l->geo.cluster_size);
		for (clu = 0; clu < per_block && block * per_block + clu < l->clusters; clu++)
			qcow2_refcount_set(counts, clu, l->geo.refcount_order, 1);
		ret = create_write_cluster(file, l, l->refblocks + block, counts);
	}
	return ret;
}

/* The L2 entry of guest cluster @gclu, which lies at its own offset in the data file. */
static void set_l2_entry(const struct qcow2_geometry *geo, __be64 *entry, u64 gclu)
{
	u64 hoff = qcow2_to_off(geo, gclu);

	entry[0] = cpu_to_be64(qcow2_l2_encode(QCOW2_CLUSTER_DATA, hoff, true));
	if (geo->extended_l2)
		entry[1] = cpu_to_be64(qcow2_l2_encode_bitmap(~0U, 0));
}

static int write_l2(struct newfile *file, const struct create_layout *l)
{
	const struct qcow2_geometry *geo = &l->geo;
	u64 per_table = 1ULL << geo->l2_bits, words = 1U << (geo->l2_entry_bits - 3);
	u64 guest_clusters = create_divide(geo->virtual_size, geo->cluster_size);
	MEM_FREE __be64 *table = mem_zalloc(geo->cluster_size);
	u64 nr, i, gclu;
	int ret = 0;

	for (nr = 0; !ret && nr < l->l2_clusters; nr++) {
		memset(table, 0, geo->cluster_size);
		for (i = 0; i < per_table; i++) {
			gclu = nr * per_table + i;
			if (gclu >= guest_clusters)
				break;
			set_l2_entry(geo, &table[i * words], gclu);
		}
		ret = create_write_cluster(file, l, l->l2 + nr, table);
	}
	return ret;
}

static int write_image(struct newfile *file, const struct create_layout *l, const char *header)
{
	int ret;

	ret = newfile_clear(file, qcow2_to_off(&l->geo, l->clusters));
	if (!ret)
		ret = create_write_counts(file, l);
	if (!ret)
		ret = create_write_pointers(file, l, l->reftable, l->refblocks, l->refblock_clusters, 0);
	if (!ret)
		ret = write_l2(file, l);
	if (!ret)
		ret = create_write_pointers(file, l, l->l1, l->l2, l->l2_clusters, QCOW2_OFLAG_COPIED);
	if (!ret)
		ret = newfile_sync(file);
	return ret ? ret : newfile_seal(file, header, l->geo.cluster_size);
}

/* ------------------------------------------------------------------------
 * Files around it
 */

int create_find_size(const struct create_request *request, u64 *size)
{
	const struct image place = { .path = (char *)request->path };
	MEM_FREE char *path = request->backing ? image_resolve(&place, request->backing) : NULL;
	struct image backing;
	int ret;

	*size = request->size;
	if (!path)
		return 0;
	ret = image_open(&backing, path);
	if (!ret && !request->backing_raw)
		ret = image_verify(&backing);
	if (!ret && *size == CREATE_UNSET)
		*size = request->backing_raw ? (backing.end + 511) & ~511ULL : backing.header.size;
	image_close(&backing);
	return ret;
}

/* QEMU resolves a data file's name in the folder it was started in: store an absolute one. */
static char *absolute(const char *path)
{
	char folder[PATH_MAX];

	if (*path == '/' || !getcwd(folder, sizeof(folder)))
		return mem_strdup(path);
	return mem_printf("%s/%s", folder, path);
}

static int make_data_file(const struct create_request *request, u64 size, struct newfile *data)
{
	int ret = newfile_open(data, request->data_file, request->data_file_raw);

	if (ret)
		return ret;
	if (data->is_block)
		return data->end >= size ? 0 : err_fail(ERR_NO_SPACE, data->path,
							"the device is smaller than the disk");
	ret = newfile_clear(data, size);
	return ret ? ret : newfile_keep(data);
}

int create_image(const struct create_request *given, struct newfile *file)
{
	struct newfile closed = NEWFILE_CLOSED, data = NEWFILE_CLOSED;
	MEM_FREE char *header = NULL, *data_path = NULL;
	struct create_request request = *given;
	struct create_layout layout = { 0 };
	u64 size;
	int ret;

	*file = closed;
	if (given->data_file)
		data_path = absolute(given->data_file);
	request.data_file = data_path;
	ret = create_find_size(&request, &size);
	if (!ret)
		ret = lay_out(&request, size, &layout);
	if (ret)
		return ret;
	header = create_header(&request, &layout);
	if (!header)
		return ERR_FAILED;
	ret = newfile_open(file, request.path, false);
	if (!ret && request.data_file)
		ret = make_data_file(&request, size, &data);
	if (!ret)
		ret = write_image(file, &layout, header);
	if (!ret && !request.unnamed)
		ret = newfile_keep(file);
	newfile_close(&data, ret && !data.is_block);
	return ret;
}
