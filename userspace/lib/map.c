// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Ask one layer after the other about a range, from the top down, until one
 * knows; join neighbours that are alike.
 */
#include <asm/byteorder.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "check_stored.h"
#include "edit.h"
#include "err.h"
#include "lock.h"
#include "map.h"
#include "mem.h"
#include "text.h"

#define MAX_LAYERS	256

struct layer {
	struct image *image;
	u64 size;		/* bytes of its disk */
	u64 *l1;		/* in the byte order of the host; NULL: a raw layer */
	__be64 *l2;		/* the table that was used last */
	u64 l2_hoff;
	bool sparse;		/* clusters have a place, but the file has holes there */
	struct image data_file;	/* fd -1 if there is none */
};

struct map {
	struct target target;
	struct layer *layers;
	u32 nr_layers;
	map_visit *visit;
	void *data;
	struct map_extent extent;	/* that may still grow */
};

/* ------------------------------------------------------------------------
 * Layers
 */

/*
 * Were clusters allocated in advance? Then many more are counted than the file
 * has blocks. The same rule as QEMU's, so that both say the same.
 */
static int find_sparse(struct layer *layer)
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

static int open_data_file(struct layer *layer)
{
	MEM_FREE char *name = image_string(layer->image, &layer->image->header.data_file);
	MEM_FREE char *path = name ? image_resolve(layer->image, name) : NULL;

	if (!layer->image->geo.data_file)
		return 0;
	if (!path || image_name_is_url(name))
		return err_fail(ERR_POLICY, layer->image->path, "image does not say where its data file is");
	return image_open(&layer->data_file, path);
}

static int load_layer(struct layer *layer)
{
	const struct image *image = layer->image;
	u32 size = image->header.l1_size, i;
	MEM_FREE __be64 *disk = NULL;
	int ret;

	if (image->raw) {
		layer->size = (image->end + 511) & ~511ULL;
		return 0;
	}
	layer->size = image->geo.virtual_size;
	layer->l1 = mem_zalloc((size + 1) * sizeof(*layer->l1));
	layer->l2 = mem_aligned(image->geo.cluster_size);
	disk = mem_aligned(size * sizeof(*disk));
	ret = image_read(image, image->header.l1_table_offset, disk, size * sizeof(*disk));
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the L1 table");
	for (i = 0; i < size; i++)
		layer->l1[i] = be64_to_cpu(disk[i]);
	ret = open_data_file(layer);
	return ret ? ret : find_sparse(layer);
}

static struct layer *add_layer(struct map *map, struct image *image)
{
	static const struct image closed = IMAGE_CLOSED;
	struct layer *layer;

	map->layers = mem_grow(map->layers, map->nr_layers, sizeof(*map->layers));
	layer = &map->layers[map->nr_layers++];
	memset(layer, 0, sizeof(*layer));
	layer->data_file = closed;
	layer->image = image;
	return layer;
}

static int check_layer(const struct map *map, struct image *image)
{
	u32 i;
	int ret;

	for (i = 0; i + 1 < map->nr_layers; i++) {
		if (image_is_same(image, &map->layers[i].image->st))
			return err_fail(ERR_FAILED, image->path, "it is in the chain twice");
	}
	if (map->nr_layers > MAX_LAYERS)
		return err_fail(ERR_FAILED, image->path, "the chain has more than %d layers",
				MAX_LAYERS);
	ret = lock_take(image->fd, LOCK_READER);
	if (ret)
		return ret > 0 ? err_fail(ERR_LOCKED, image->path,
					  "image is locked by another process (byte %d)", ret) :
				 err_errno_what(-ret, image->path, "cannot lock the image");
	return image->raw ? 0 : image_verify(image);
}

/* The layer that @above names. */
static int open_below(struct map *map, const struct image *above, const char *name)
{
	MEM_FREE char *format = image_string(above, &above->header.backing_format);
	MEM_FREE char *path = image_resolve(above, name), *shown = text_printable(name);
	bool raw = format && !strcmp(format, "raw");
	struct image *image;
	int ret;

	if (image_name_is_url(name))
		return err_fail(ERR_POLICY, above->path, "image names \"%s\", which is not a file",
				shown);
	if (!format)
		return err_fail(ERR_POLICY, above->path,
				"image does not say the format of its backing file");
	if (!raw && strcmp(format, "qcow2"))
		return err_fail(ERR_UNSUPPORTED, above->path,
				"the format of its backing file is neither qcow2 nor raw");
	image = mem_zalloc(sizeof(*image));
	ret = image_open(image, path);
	image->raw = raw;
	add_layer(map, image);
	return ret ? ret : check_layer(map, image);
}

static int open_layers(struct map *map)
{
	struct layer *layer = add_layer(map, &map->target.image);
	int ret = load_layer(layer);

	while (!ret && !layer->image->raw) {
		MEM_FREE char *name = image_string(layer->image,
						   &layer->image->header.backing_file);

		if (!name)
			return 0;
		ret = open_below(map, layer->image, name);
		layer = &map->layers[map->nr_layers - 1];
		if (!ret)
			ret = load_layer(layer);
	}
	return ret;
}

static int close_layers(struct map *map)
{
	u32 i;

	for (i = 0; i < map->nr_layers; i++) {
		struct layer *layer = &map->layers[i];

		free(layer->l1);
		free(layer->l2);
		image_close(&layer->data_file);
		if (layer->image != &map->target.image) {
			image_close(layer->image);
			free(layer->image);
		}
	}
	free(map->layers);
	return target_close(&map->target);
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

static int raw_status(const struct layer *layer, struct map_extent *extent)
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

static int fail_entry(const struct layer *layer, const char *what, u64 raw,
		      enum qcow2_verdict verdict)
{
	return err_fail(ERR_CORRUPT, layer->image->path, "%s entry %#llx: %s", what,
			(unsigned long long)raw, qcow2_verdict_text(verdict));
}

/* Have the L2 table for a guest offset in layer->l2; false in *@there if none is. */
static int load_l2(struct layer *layer, u64 goff, bool *there)
{
	const struct image *image = layer->image;
	u64 index = qcow2_l1_index(&image->geo, goff), hoff = 0;
	enum qcow2_verdict verdict = QCOW2_OK;
	bool copied;
	int ret;

	if (index < image->header.l1_size)
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
static void subcluster_status(const struct layer *layer, const struct qcow2_l2_entry *entry,
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
static void sparse_status(const struct layer *layer, struct map_extent *extent)
{
	const struct image *file = layer->data_file.fd >= 0 ? &layer->data_file : layer->image;
	u64 length;

	if (!layer->sparse || !extent->data || !extent->has_offset)
		return;
	extent->zero = is_hole(file, extent->offset, &length);
	limit(extent, length);
}

/* Entry @index of the table at hand. */
static enum qcow2_verdict decode(const struct layer *layer, u32 index, u64 *raw,
				 struct qcow2_l2_entry *entry)
{
	const struct qcow2_geometry *geo = &layer->image->geo;
	u32 step = geo->extended_l2 ? 2 : 1;
	const __be64 *words = layer->l2 + index * step;

	*raw = be64_to_cpu(words[0]);
	return qcow2_l2_decode(geo, *raw, step == 2 ? be64_to_cpu(words[1]) : 0, entry);
}

/* Clusters from @index on that are as @first is, in places that follow each other. */
static u64 find_run(const struct layer *layer, u32 index, const struct qcow2_l2_entry *first)
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

static int cluster_status(struct layer *layer, struct map_extent *extent)
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

static int qcow2_status(struct layer *layer, struct map_extent *extent)
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

/* What becomes of extent->start and up to extent->length bytes behind it. */
static int find_status(struct map *map, struct map_extent *extent)
{
	u32 depth;
	int ret = 0;

	for (depth = 0; !ret; depth++) {
		struct layer *layer = &map->layers[depth];
		bool last = depth + 1 == map->nr_layers;

		extent->depth = depth;
		limit(extent, layer->size - extent->start);
		ret = layer->l1 ? qcow2_status(layer, extent) : raw_status(layer, extent);
		if (ret || extent->present)
			break;
		extent->zero = last || extent->start >= map->layers[depth + 1].size;
		if (extent->zero)
			break;
		extent->has_offset = false;
	}
	return ret;
}

/* ------------------------------------------------------------------------
 * Extents
 */

static bool is_same(const struct map_extent *a, const struct map_extent *b)
{
	return a->depth == b->depth && a->present == b->present && a->zero == b->zero &&
	       a->data == b->data && a->compressed == b->compressed && a->has_offset == b->has_offset &&
	       (!a->has_offset || a->offset + a->length == b->offset);
}

static int add_extent(struct map *map, const struct map_extent *next)
{
	struct map_extent *extent = &map->extent;
	int ret = 0;

	if (extent->length && is_same(extent, next)) {
		extent->length += next->length;
		return 0;
	}
	if (extent->length)
		ret = map->visit(map->data, extent);
	*extent = *next;
	return ret;
}

static int visit_all(struct map *map)
{
	u64 size = map->layers[0].size, goff = 0;
	int ret = 0;

	while (!ret && goff < size) {
		struct map_extent next = { .start = goff, .length = size - goff };

		ret = find_status(map, &next);
		if (!ret)
			ret = add_extent(map, &next);
		goff += next.length;
	}
	if (!ret && map->extent.length)
		ret = map->visit(map->data, &map->extent);
	return ret;
}

static int visit_none(void *data, const struct map_extent *extent)
{
	(void)data;
	(void)extent;
	return 0;
}

int map_run(const char *target, map_visit *visit, void *data)
{
	struct map map = { .visit = visit_none };
	int ret = edit_open_reader(&map.target, target, false), error;

	if (!ret)
		ret = open_layers(&map);
	/* Twice: who gets an error gets no part of a result, however long that is. */
	if (!ret)
		ret = visit_all(&map);
	if (!ret) {
		memset(&map.extent, 0, sizeof(map.extent));
		map.visit = visit;
		map.data = data;
		ret = visit_all(&map);
	}
	error = close_layers(&map);
	return ret ? ret : error;
}
