// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Tables and holes of one layer.
 */
#include <asm/byteorder.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "check_stored.h"
#include "err.h"
#include "map_layer.h"
#include "mem.h"
#include "snapshot_table.h"

/*
 * Were clusters allocated in advance? Then many more are counted than the file
 * has blocks. The same rule as QEMU's, so that both say the same.
 */
static int find_sparse(struct map_layer *layer)
{
	const struct image *image = layer->image;
	u64 real = (u64)image->st.st_blocks * 512 >> image->geo.cluster_bits;
	u64 wanted = real * 10 / 9 > real + 2 ? real * 10 / 9 : real + 2;
	u64 end = qcow2_to_clu(&image->geo, qcow2_round_up(&image->geo, image->end));
	struct check_stored stored;
	u64 hclu, count, found = 0;
	int ret = check_stored_init(&stored, image);

	for (hclu = 0; !ret && hclu < end && found < wanted; hclu++) {
		if (check_stored_get(&stored, hclu, &count))
			ret = err_fail(ERR_CORRUPT, image->path, "%s",
				       qcow2_verdict_text(QCOW2_REFTABLE_ENTRY_UNALIGNED));
		found += !!count;
	}
	layer->sparse = found >= wanted;
	check_stored_release(&stored);
	return ret;
}

static int open_data_file(struct map_layer *layer)
{
	MEM_FREE char *name = image_string(layer->image, &layer->image->header.data_file);
	MEM_FREE char *path = name ? image_resolve(layer->image, name) : NULL;

	if (!layer->image->geo.data_file || layer->data_file.fd >= 0)
		return 0;
	if (layer->is_told || !path || image_name_is_url(name))
		return err_fail(ERR_POLICY, layer->image->path, "%s does not say where its data file is",
				layer->is_told ? "its table" : "image");
	return image_open(&layer->data_file, path);
}

int map_layer_load(struct map_layer *layer)
{
	const struct image *image = layer->image;
	MEM_FREE __be64 *disk = NULL;
	u32 size, i;
	int ret;

	if (image->raw) {
		layer->size = (image->end + 511) & ~511ULL;
		return 0;
	}
	if (!layer->l1_hoff) {
		layer->size = image->geo.virtual_size;
		layer->l1_hoff = image->header.l1_table_offset;
		layer->l1_size = image->header.l1_size;
	}
	size = layer->l1_size;
	layer->l1 = mem_zalloc((size + 1) * sizeof(*layer->l1));
	layer->l2 = mem_aligned(image->geo.cluster_size);
	disk = mem_aligned(size * sizeof(*disk));
	ret = image_read(image, layer->l1_hoff, disk, size * sizeof(*disk));
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the L1 table");
	for (i = 0; i < size; i++)
		layer->l1[i] = be64_to_cpu(disk[i]);
	if (!layer->finds_holes)
		return 0;
	ret = open_data_file(layer);
	return ret ? ret : find_sparse(layer);
}

int map_layer_find_snapshot(struct map_layer *layer, const char *id)
{
	const struct image *image = layer->image;
	enum qcow2_verdict verdict = QCOW2_OK;
	struct snapshot_table table = { 0 };
	const struct qcow2_snapshot *snap;
	int ret = snapshot_table_read(image, &table);
	u32 index = 0;

	if (!ret && !snapshot_table_find(&table, id, &index))
		ret = err_fail(ERR_NOT_FOUND, image->path, "there is no snapshot '%s'", id);
	snap = ret ? NULL : &table.entries[index];
	if (snap)
		verdict = qcow2_snapshot_l1(&image->geo, snap);
	if (verdict)
		ret = err_fail(ERR_CORRUPT, image->path, "snapshot '%s': %s", id,
			       qcow2_verdict_text(verdict));
	if (!ret) {
		layer->size = snap->disk_size == QCOW2_SNAPSHOT_NONE ? image->geo.virtual_size :
								       snap->disk_size & ~511ULL;
		layer->l1_hoff = snap->l1_table_offset;
		layer->l1_size = snap->l1_size;
	}
	snapshot_table_release(&table);
	return ret;
}

/* ------------------------------------------------------------------------
 * Status of a range; each function makes extent->length smaller if it has to
 */

static void limit(struct map_extent *extent, u64 length)
{
	if (extent->length > length)
		extent->length = length;
}

/* Is the file's byte at @hoff in a hole? *@length is how far that goes. */
static bool is_hole(const struct image *image, u64 hoff, u64 *length)
{
	off_t next = lseek(image->fd, hoff, SEEK_DATA);

	*length = ~0ULL;
	if (next < 0)
		return errno == ENXIO;
	if ((u64)next > hoff) {
		*length = next - hoff;
		return true;
	}
	next = lseek(image->fd, hoff, SEEK_HOLE);
	if (next > 0)
		*length = next - hoff;
	return false;
}

static int raw_status(const struct map_layer *layer, struct map_extent *extent)
{
	u64 length;
	bool hole = is_hole(layer->image, extent->start, &length);

	extent->zero = hole;
	extent->data = !hole;
	extent->present = true;
	extent->has_offset = true;
	extent->offset = extent->start;
	extent->file = layer->image->path;
	limit(extent, length);
	return 0;
}

static int fail_entry(const struct map_layer *layer, const char *what, u64 raw,
		      enum qcow2_verdict verdict)
{
	return err_fail(ERR_CORRUPT, layer->image->path, "%s entry %#llx: %s", what,
			(unsigned long long)raw, qcow2_verdict_text(verdict));
}

/* Have the L2 table for a guest offset in layer->l2; false in *@there if none is. */
static int load_l2(struct map_layer *layer, u64 goff, bool *there)
{
	const struct image *image = layer->image;
	u64 index = qcow2_l1_index(&image->geo, goff), hoff = 0;
	enum qcow2_verdict verdict = QCOW2_OK;
	bool copied;
	int ret;

	if (index < layer->l1_size)
		verdict = qcow2_l1_decode(&image->geo, layer->l1[index], &hoff, &copied);
	*there = hoff;
	if (verdict)
		return fail_entry(layer, "l1", layer->l1[index], verdict);
	if (!hoff || hoff == layer->l2_hoff)
		return 0;
	layer->l2_hoff = 0;
	ret = image_read(image, hoff, layer->l2, image->geo.cluster_size);
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read an L2 table");
	layer->l2_hoff = hoff;
	return 0;
}

/* Subclusters of one kind in a cluster that has several. */
static void subcluster_status(const struct map_layer *layer, const struct qcow2_l2_entry *entry,
			      struct map_extent *extent)
{
	const struct qcow2_geometry *geo = &layer->image->geo;
	u32 run;
	enum qcow2_cluster_kind kind =
		qcow2_l2_subcluster(entry, qcow2_subcluster_index(geo, extent->start), &run);

	extent->data = kind == QCOW2_CLUSTER_DATA;
	extent->zero = kind == QCOW2_CLUSTER_ZERO_ALLOC || kind == QCOW2_CLUSTER_ZERO_PLAIN;
	extent->has_offset = entry->has_host;
	limit(extent, (run << geo->subcluster_bits) - qcow2_in_subcluster(geo, extent->start));
}

/* A cluster that has its place can lie in a hole of the file. */
static void sparse_status(const struct map_layer *layer, struct map_extent *extent)
{
	const struct image *file = layer->data_file.fd >= 0 ? &layer->data_file : layer->image;
	u64 length;

	if (!layer->sparse || !extent->data || !extent->has_offset)
		return;
	extent->zero = is_hole(file, extent->offset, &length);
	limit(extent, length);
}

/* Entry @index of the table at hand. */
static enum qcow2_verdict decode(const struct map_layer *layer, u32 index, u64 *raw,
				 struct qcow2_l2_entry *entry)
{
	const struct qcow2_geometry *geo = &layer->image->geo;
	u32 step = geo->extended_l2 ? 2 : 1;
	const __be64 *words = layer->l2 + index * step;

	*raw = be64_to_cpu(words[0]);
	return qcow2_l2_decode(geo, *raw, step == 2 ? be64_to_cpu(words[1]) : 0, entry);
}

/* Clusters from @index on that are as @first is, in places that follow each other. */
static u64 find_run(const struct map_layer *layer, u32 index, const struct qcow2_l2_entry *first)
{
	const struct qcow2_geometry *geo = &layer->image->geo;
	struct qcow2_l2_entry entry;
	u64 n, raw;

	if (first->kind == QCOW2_CLUSTER_SUBCLUSTERS)
		return 1;
	for (n = 1; index + n < 1U << geo->l2_bits; n++) {
		if (decode(layer, index + n, &raw, &entry) || entry.kind != first->kind ||
		    entry.has_host != first->has_host ||
		    (entry.has_host && entry.hoff != first->hoff + qcow2_to_off(geo, n)))
			break;
	}
	return n;
}

static int cluster_status(struct map_layer *layer, struct map_extent *extent)
{
	const struct image *image = layer->image;
	const struct qcow2_geometry *geo = &image->geo;
	u32 in = qcow2_in_cluster(geo, extent->start);
	u32 index = qcow2_l2_index(geo, extent->start);
	enum qcow2_verdict verdict;
	struct qcow2_l2_entry entry;
	u64 raw;

	verdict = decode(layer, index, &raw, &entry);
	if (verdict)
		return fail_entry(layer, "l2", raw, verdict);
	limit(extent, qcow2_to_off(geo, find_run(layer, index, &entry)) - in);
	if (entry.kind == QCOW2_CLUSTER_SUBCLUSTERS) {
		subcluster_status(layer, &entry, extent);
	} else {
		extent->data = entry.kind == QCOW2_CLUSTER_DATA ||
			       entry.kind == QCOW2_CLUSTER_COMPRESSED;
		extent->zero = entry.kind == QCOW2_CLUSTER_ZERO_PLAIN ||
			       entry.kind == QCOW2_CLUSTER_ZERO_ALLOC;
		extent->compressed = entry.kind == QCOW2_CLUSTER_COMPRESSED;
		extent->has_offset = entry.has_host;
	}
	if (image->header.crypt_method)
		extent->has_offset = false;
	extent->offset = extent->has_offset ? entry.hoff + in : 0;
	extent->file = layer->data_file.fd >= 0 ? layer->data_file.path : image->path;
	extent->present = extent->data || extent->zero;
	sparse_status(layer, extent);
	return 0;
}

static int qcow2_status(struct map_layer *layer, struct map_extent *extent)
{
	u64 span = 1ULL << qcow2_l1_shift(&layer->image->geo);
	bool there;
	int ret = load_l2(layer, extent->start, &there);

	if (ret)
		return ret;
	if (there)
		return cluster_status(layer, extent);
	limit(extent, span - (extent->start & (span - 1)));
	return 0;
}

int map_layer_status(struct map_layer *layer, struct map_extent *extent)
{
	limit(extent, layer->size - extent->start);
	return layer->l1 ? qcow2_status(layer, extent) : raw_status(layer, extent);
}
