// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Ask one layer after the other about a range, from the top down, until one
 * knows; join neighbours that are alike.
 */
#include <stdlib.h>
#include <string.h>
#include "edit.h"
#include "err.h"
#include "lock.h"
#include "map_layer.h"
#include "mem.h"
#include "progress.h"
#include "text.h"

#define MAX_LAYERS	256
#define EXTENT_TEXT	192U	/* what is said of an extent has no more bytes, but for the path */
#define FIRST_TEXT	(256ULL << 10)
#define MOST_TEXT	(1ULL << 30)

struct map {
	struct target target;
	struct map_layer *layers;
	u32 nr_layers;
	const struct table *table;	/* says what the layers are; NULL: the images do */
	map_visit *visit;
	void *data;
	struct map_extent extent;	/* that may still grow */
};

/* ------------------------------------------------------------------------
 * Layers
 */

static struct map_layer *add_layer(struct map *map, struct image *image)
{
	static const struct image closed = IMAGE_CLOSED;
	struct map_layer *layer;

	map->layers = mem_grow(map->layers, map->nr_layers, sizeof(*map->layers));
	layer = &map->layers[map->nr_layers++];
	memset(layer, 0, sizeof(*layer));
	layer->data_file = closed;
	layer->image = image;
	layer->finds_holes = true;
	layer->is_told = map->table;
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
		return edit_refuse_locked(image, ret);
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

/* The layer that the table names next; false in *@there if that was the last. */
static int open_next(struct map *map, bool *there)
{
	const struct table *table = map->table;
	const struct image *above = map->layers[map->nr_layers - 1].image;
	MEM_FREE char *name = NULL;
	struct image *image;
	int ret;

	*there = false;
	if (!table) {
		name = above->raw ? NULL : image_string(above, &above->header.backing_file);
		*there = name;
		return name ? open_below(map, above, name) : 0;
	}
	if (map->nr_layers == table->nr_layers)
		return 0;
	*there = true;
	image = mem_zalloc(sizeof(*image));
	ret = image_open(image, table->paths[map->nr_layers]);
	image->raw = table->raw[map->nr_layers];
	add_layer(map, image);
	return ret ? ret : check_layer(map, image);
}

static int open_lower_layers(struct map *map)
{
	bool there = true;
	int ret = 0;

	while (!ret && there) {
		ret = open_next(map, &there);
		if (!ret && there)
			ret = map_layer_load(&map->layers[map->nr_layers - 1]);
	}
	return ret;
}

/* @device is for device_release() in any case. */
static int open_target(struct map *map, const char *target, struct device *device)
{
	int ret = target_open(&map->target, target);
	const char *path;

	if (!ret && map->target.is_device) {
		ret = device_get(map->target.device, device);
		if (ret)
			return device_fail(ret, map->target.device);
		map->table = &device->table;
	}
	add_layer(map, &map->target.image);
	path = device_data_file(device);
	return ret || !path ? ret : image_open(&map->layers[0].data_file, path);
}

/* What a table names is opened while its device runs: it may lie on that, and wait for it. */
static int open_layers(struct map *map, u64 room)
{
	int ret = map->table ? open_lower_layers(map) : 0;

	if (!ret)
		ret = edit_take_reader(&map->target, EDIT_READS_TABLES, room);
	if (!ret)
		ret = map_layer_load(&map->layers[0]);
	return ret || map->table ? ret : open_lower_layers(map);
}

static int close_layers(struct map *map)
{
	u32 i;

	for (i = 0; i < map->nr_layers; i++) {
		struct map_layer *layer = &map->layers[i];

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
 * Extents
 */

/* What becomes of extent->start and up to extent->length bytes behind it. */
static int find_status(struct map *map, struct map_extent *extent)
{
	u32 depth;
	int ret = 0;

	for (depth = 0; !ret; depth++) {
		struct map_layer *layer = &map->layers[depth];
		bool last = depth + 1 == map->nr_layers;

		extent->depth = depth;
		ret = map_layer_status(layer, extent);
		if (ret || extent->present)
			break;
		extent->zero = last || extent->start >= map->layers[depth + 1].size;
		if (extent->zero)
			break;
		extent->has_offset = false;
	}
	return ret;
}

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

		ret = progress_step(goff, size);
		if (!ret)
			ret = find_status(map, &next);
		if (!ret)
			ret = add_extent(map, &next);
		goff += next.length;
	}
	if (!ret && map->extent.length)
		ret = map->visit(map->data, &map->extent);
	return ret;
}

/* How long can the text about it become? A path that is hard to print grows by four. */
static int add_text(void *data, const struct map_extent *extent)
{
	u64 *bytes = data;

	*bytes += EXTENT_TEXT + (extent->has_offset ? 4 * strlen(extent->file) : 0);
	return 0;
}

/* With @room bytes for the text. If that is too little for a device nothing is visited, and *@room is enough. */
static int map_with(const char *target, u64 *room, map_visit *visit, void *data)
{
	u64 bytes = 0;
	struct map map = { .visit = add_text, .data = &bytes };
	struct device device = { 0 };
	int ret = open_target(&map, target, &device), error;

	if (!ret)
		ret = open_layers(&map, *room);
	/* Twice: who gets an error gets no part of a result, however long that is. */
	if (!ret)
		ret = visit_all(&map);
	if (!ret && map.target.is_held && bytes > MOST_TEXT) {
		ret = err_fail(ERR_FAILED, map.target.device,
			       "its map needs %llu MiB while it is suspended",
			       (unsigned long long)(bytes >> 20));
		err_hint("detach it before");
	} else if (!ret && map.target.is_held && bytes > *room) {
		*room = bytes + bytes / 4;
	} else if (!ret) {
		memset(&map.extent, 0, sizeof(map.extent));
		*room = 0;
		map.visit = visit;
		map.data = data;
		ret = visit_all(&map);
	}
	error = close_layers(&map);
	device_release(&device);
	return ret ? ret : error;
}

/*
 * What is printed while a device is suspended takes memory that has to be there before. So it is suspended a
 * second time if there was too little, and again if what its writers have added is more than a quarter.
 */
int map_run(const char *target, map_visit *visit, void *data)
{
	u64 room = FIRST_TEXT;
	int ret;

	do
		ret = map_with(target, &room, visit, data);
	while (!ret && room);
	return ret;
}

/* A second time would be in vain: who collects extents throws them away after an error. */
static int visit_once(struct map *map, map_visit *visit, void *data)
{
	map->visit = visit;
	map->data = data;
	return visit_all(map);
}

int map_run_device(const struct device *device, map_visit *visit, void *data)
{
	struct map map = { .table = &device->table };
	int ret = target_open(&map.target, device->dm.name), error;

	add_layer(&map, &map.target.image)->finds_holes = false;
	if (!ret)
		ret = open_layers(&map, 0);
	if (!ret)
		ret = visit_once(&map, visit, data);
	error = close_layers(&map);
	return ret ? ret : error;
}

int map_run_frozen(const struct device *device, const char *snapshot, map_visit *visit, void *data)
{
	const struct image closed = IMAGE_CLOSED;
	struct map map = { .table = &device->table, .target.image = closed };
	struct map_layer *top = add_layer(&map, &map.target.image);
	int ret = image_open(top->image, device->table.paths[0]);

	top->finds_holes = false;
	if (!ret)
		ret = image_verify(top->image);
	if (!ret && snapshot)
		ret = map_layer_find_snapshot(top, snapshot);
	if (!ret)
		ret = map_layer_load(top);
	if (!ret)
		ret = open_lower_layers(&map);
	if (!ret)
		ret = visit_once(&map, visit, data);
	close_layers(&map);
	return ret;
}
