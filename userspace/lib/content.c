// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Reader of guest data.
 */
#include <asm/byteorder.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chain.h"
#include "content.h"
#include "err.h"
#include "holder.h"
#include "inflate.h"
#include "lock.h"
#include "mem.h"
#include "text.h"

#define MAX_LAYERS	256	/* of the target, too */

/* ------------------------------------------------------------------------
 * Layers
 */

static int refuse(const struct image *image, const char *what)
{
	return err_fail(ERR_UNSUPPORTED, image->path, "its data %s, which is not read offline", what);
}

static int load_l1(struct content_layer *layer)
{
	const struct image *image = layer->image;
	size_t bytes = image->header.l1_size * sizeof(__be64);
	MEM_FREE __be64 *disk = mem_aligned(bytes);
	int ret;
	u32 i;

	if (image->geo.data_file && layer->data == image)
		return refuse(image, "lies in a data file of its own");
	if (image->header.crypt_method)
		return refuse(image, "is encrypted");
	ret = image_read(image, image->header.l1_table_offset, disk, bytes);
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the L1 table");
	layer->l1 = mem_zalloc(bytes);
	for (i = 0; i < image->header.l1_size; i++)
		layer->l1[i] = be64_to_cpu(disk[i]);
	layer->size = image->header.size;
	tables_init(&layer->tables, image);
	return 0;
}

static int add(struct content *content, struct image *image, const struct image *data, bool is_ours)
{
	struct content_layer *layer = mem_zalloc(sizeof(*layer));

	content->layers = mem_grow(content->layers, content->nr_layers, sizeof(*content->layers));
	content->layers[content->nr_layers++] = layer;
	layer->image = image;
	layer->data = data;
	layer->is_ours = is_ours;
	layer->size = image->end;
	return image->raw ? 0 : load_l1(layer);
}

int content_add(struct content *content, struct image *image)
{
	return add(content, image, image, false);
}

int content_add_data(struct content *content, struct image *image, const struct image *data)
{
	return add(content, image, data ? data : image, false);
}

void content_release(struct content *content)
{
	size_t i;

	for (i = 0; i < content->nr_layers; i++) {
		struct content_layer *layer = content->layers[i];

		if (layer->is_ours) {
			image_close(layer->image);
			free(layer->image);
		}
		if (layer->l1)
			tables_release(&layer->tables);
		free(layer->l1);
		free(layer->inflated);
		free(layer);
	}
	free(content->layers);
	memset(content, 0, sizeof(*content));
}

static int lock(const struct image *image)
{
	int byte = lock_take(image->fd, LOCK_READER);

	if (!byte)
		return 0;
	if (byte < 0)
		return err_errno_what(-byte, image->path, "cannot lock the image");
	MEM_FREE char *holder = holder_of_byte(&image->st, byte);

	return err_fail(ERR_LOCKED, image->path, "image is locked by another process (byte %d)%s%s",
			byte, holder ? ": " : "", holder ? holder : "");
}

static bool is_known(const struct content *content, const struct image *image)
{
	size_t i;

	for (i = 0; i < content->nr_layers; i++) {
		if (image_is_same(image, &content->layers[i]->image->st))
			return true;
	}
	return false;
}

static int open_named(struct content *content, const char *name, const char *format)
{
	const struct image *last = content->layers[content->nr_layers - 1]->image;
	MEM_FREE char *path = image_resolve(last, name);
	struct image *image = mem_zalloc(sizeof(*image));
	int ret = content->names == CONTENT_BESIDE ?
			  chain_open_beside(last, "backing file", name, image) :
			  image_open(image, path);

	image->raw = !strcmp(format, "raw");
	if (!ret && is_known(content, image))
		ret = err_fail(ERR_FAILED, path, "it is in the chain twice");
	if (!ret)
		ret = lock(image);
	if (!ret && !image->raw)
		ret = image_verify(image);
	if (!ret)
		return add(content, image, image, true);
	image_close(image);
	free(image);
	return ret;
}

static const char *unfit_beside(const struct image *image, const char *name)
{
	int ret = chain_find_beside(image, name);

	return !ret ? NULL : ret == -ENOENT ? "which is not there" : "which is no file of its own folder";
}

/* Why nothing of that name can be opened, or NULL. */
static const char *unfit(enum content_names names, const struct image *image, const char *name,
			 const char *format)
{
	MEM_FREE char *path = image_resolve(image, name);
	struct stat st;

	if (image_name_is_url(name))
		return "which is not a file";
	if (!format)
		return "and does not say its format";
	if (strcmp(format, "raw") && strcmp(format, "qcow2"))
		return "whose format is neither qcow2 nor raw";
	if (names == CONTENT_BESIDE)
		return unfit_beside(image, name);
	if (stat(path, &st))
		return errno == ENOENT ? "which is not there" : "which cannot be looked at";
	return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? NULL : "which is not a file";
}

int content_follow(struct content *content, bool tolerant, const struct image **found)
{
	const struct image *last = content->layers[content->nr_layers - 1]->image;
	MEM_FREE char *name = NULL, *format = NULL, *shown = NULL;
	const char *why;
	int ret;

	*found = NULL;
	if (!last->raw && content->names != CONTENT_IGNORED)
		name = image_string(last, &last->header.backing_file);
	if (!name)
		return 0;
	format = image_string(last, &last->header.backing_format);
	why = unfit(content->names, last, name, format);
	if (why && tolerant)
		return 0;
	shown = text_printable(name);
	if (why)
		return err_fail(strstr(why, "not there") ? ERR_NOT_FOUND : ERR_POLICY, last->path,
				"image names a backing file \"%s\", %s", shown, why);
	if (content->nr_layers == MAX_LAYERS)
		return err_fail(ERR_FAILED, last->path, "the chain has more than %d layers",
				MAX_LAYERS);
	ret = open_named(content, name, format);
	if (!ret)
		*found = content->layers[content->nr_layers - 1]->image;
	return ret;
}

/* ------------------------------------------------------------------------
 * One cluster of one layer
 */

static int find(struct content_layer *layer, u64 goff, struct qcow2_l2_entry *entry)
{
	const struct qcow2_geometry *geo = &layer->image->geo;
	u32 step = geo->extended_l2 ? 2 : 1, size = layer->image->header.l1_size;
	u64 index = qcow2_l1_index(geo, goff), raw;
	enum qcow2_verdict verdict;
	const __be64 *table = NULL;
	int ret = 0;

	memset(entry, 0, sizeof(*entry));
	if (index < size)
		ret = tables_get(&layer->tables, layer->l1, size, index, &table);
	if (ret || !table)
		return ret;
	table += qcow2_l2_index(geo, goff) * step;
	raw = be64_to_cpu(table[0]);
	verdict = qcow2_l2_decode(geo, raw, step == 2 ? be64_to_cpu(table[1]) : 0, entry);
	if (!verdict && geo->data_file)
		verdict = qcow2_l2_data_file(entry, goff - qcow2_in_cluster(geo, goff));
	return verdict ? err_fail(ERR_CORRUPT, layer->image->path, "l2 entry %#llx: %s",
				  (unsigned long long)raw, qcow2_verdict_text(verdict)) : 0;
}

static int read_data(const struct content_layer *layer, u64 hoff, void *buf, size_t len)
{
	int ret = image_read(layer->data, hoff, buf, len);

	return ret ? err_errno_what(-ret, layer->data->path, "cannot read") : 0;
}

static int read_compressed(struct content_layer *layer, const struct qcow2_l2_entry *entry, u32 in,
			   void *buf, size_t len)
{
	u32 size = layer->image->geo.cluster_size;
	MEM_FREE void *packed = NULL;
	int ret;

	if (layer->inflated_from != entry->hoff) {
		packed = mem_aligned(entry->compressed_length);
		ret = read_data(layer, entry->hoff, packed, entry->compressed_length);
		if (ret)
			return ret;
		if (!layer->inflated)
			layer->inflated = mem_zalloc(size);
		layer->inflated_from = 0;
		if (!inflate_cluster(layer->image->header.compression_type, packed,
				     entry->compressed_length, layer->inflated, size))
			return err_fail(ERR_CORRUPT, layer->image->path,
					"compressed cluster at %#llx is damaged",
					(unsigned long long)entry->hoff);
		layer->inflated_from = entry->hoff;
	}
	memcpy(buf, layer->inflated + in, len);
	return 0;
}

/* The kind of the subcluster with @goff, and how many bytes of that kind follow in the cluster. */
static enum qcow2_cluster_kind kind_at(const struct content_layer *layer,
				       const struct qcow2_l2_entry *entry, u64 goff, u32 *left)
{
	const struct qcow2_geometry *geo = &layer->image->geo;
	enum qcow2_cluster_kind kind;
	u32 run;

	if (entry->kind == QCOW2_CLUSTER_SUBCLUSTERS) {
		kind = qcow2_l2_subcluster(entry, qcow2_subcluster_index(geo, goff), &run);
		*left = (run << geo->subcluster_bits) - qcow2_in_subcluster(geo, goff);
		return kind;
	}
	*left = geo->cluster_size - qcow2_in_cluster(geo, goff);
	return entry->kind;
}

static int read_below(struct content *content, size_t layer, u64 goff, void *buf, size_t len)
{
	const struct image *below;
	int ret;

	if (layer + 1 == content->nr_layers) {
		ret = content_follow(content, false, &below);
		if (ret)
			return ret;
		if (!below) {
			memset(buf, 0, len);
			return 0;
		}
	}
	return content_read(content, layer + 1, goff, buf, len);
}

/* From one (sub)cluster, at most @len bytes: how many is in *@part. */
static int read_part(struct content *content, size_t nr, u64 goff, void *buf, size_t len, u32 *part)
{
	struct content_layer *layer = content->layers[nr];
	struct qcow2_l2_entry entry;
	enum qcow2_cluster_kind kind;
	u32 in;
	int ret = find(layer, goff, &entry);

	if (ret)
		return ret;
	kind = kind_at(layer, &entry, goff, part);
	if (*part > len)
		*part = len;
	in = qcow2_in_cluster(&layer->image->geo, goff);
	switch (kind) {
	case QCOW2_CLUSTER_DATA:
		return read_data(layer, entry.hoff + in, buf, *part);
	case QCOW2_CLUSTER_COMPRESSED:
		return read_compressed(layer, &entry, in, buf, *part);
	case QCOW2_CLUSTER_UNALLOCATED:
		return read_below(content, nr, goff, buf, *part);
	default:
		memset(buf, 0, *part);
		return 0;
	}
}

int content_read(struct content *content, size_t nr, u64 goff, void *buf, size_t len)
{
	struct content_layer *layer = content->layers[nr];
	u64 size = layer->size, left = goff < size ? size - goff : 0;
	char *to = buf;
	u32 part;
	int ret = 0;

	if (len > left) {
		memset(to + left, 0, len - left);
		len = left;
	}
	if (layer->image->raw)
		return len ? read_data(layer, goff, buf, len) : 0;
	for (; !ret && len; goff += part, to += part, len -= part)
		ret = read_part(content, nr, goff, to, len, &part);
	return ret;
}

int content_has(struct content *content, size_t nr, u64 goff, bool *has, u64 *next)
{
	struct content_layer *layer = content->layers[nr];
	const struct qcow2_geometry *geo = &layer->image->geo;
	u64 index = qcow2_l1_index(geo, goff);
	struct qcow2_l2_entry entry;
	u32 left;
	int ret;

	*has = false;
	*next = (index + 1) << qcow2_l1_shift(geo);
	if (index >= layer->image->header.l1_size || !layer->l1[index])
		return 0;
	ret = find(layer, goff, &entry);
	if (ret)
		return ret;
	*has = kind_at(layer, &entry, goff, &left) != QCOW2_CLUSTER_UNALLOCATED;
	*next = goff + left;
	return 0;
}
