// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * info: what an image is, from its header; attached or not.
 */
#include "../lib/bitmap.h"
#include "../lib/mem.h"
#include "../lib/snapshot.h"
#include "../lib/target.h"
#include "cmd.h"

struct args {
	bool json;
};

static const struct cli_option options[] = {
	{ "json", 0, CLI_FLAG, offsetof(struct args, json), .help = "print an object" },
	{ }
};

struct info {
	const char *image, *format, *compat;
	u64 virtual_size, actual_size, cluster_size, refcount_bits;
	char **features;
	bool dirty, corrupt, encrypted;
	char *backing, *backing_format, *data_file;
	struct out_rows snapshots;
	char **bitmaps;
	const char *attached;
};

#define FIELD(key, title, type) { #key, title, type, offsetof(struct info, key), NULL }

static const struct out_field fields[] = {
	FIELD(image, "image", OUT_STRING),
	FIELD(format, "format", OUT_STRING),
	FIELD(virtual_size, "virtual size", OUT_BYTES),
	FIELD(actual_size, "actual size", OUT_BYTES),
	FIELD(cluster_size, "cluster size", OUT_BYTES),
	FIELD(compat, "compat", OUT_STRING),
	FIELD(refcount_bits, "refcount bits", OUT_COUNT),
	FIELD(features, "features", OUT_STRINGS),
	FIELD(dirty, "dirty", OUT_BOOL),
	FIELD(corrupt, "corrupt", OUT_BOOL),
	FIELD(backing, "backing file", OUT_STRING),
	FIELD(backing_format, "backing format", OUT_STRING),
	FIELD(data_file, "data file", OUT_STRING),
	FIELD(encrypted, "encrypted", OUT_BOOL),
	FIELD(snapshots, "snapshots", OUT_ROWS),
	FIELD(bitmaps, "bitmaps", OUT_STRINGS),
	FIELD(attached, "attached as", OUT_STRING),
	{ }
};

static void add_feature(struct info *info, bool set, const char *name)
{
	if (set)
		mem_add_string(&info->features, mem_strdup(name));
}

/* Bits that we do not know are no reason to refuse, but worth a name. */
static void add_unknown(struct info *info, const struct image *image, unsigned int type, u64 bits)
{
	char name[64];
	unsigned int bit;

	for (bit = 0; bit < 64; bit++) {
		if (!(bits & BIT_ULL(bit)))
			continue;
		qcow2_feature_name(image->cluster, image->cluster_len, &image->header, type, bit,
				   name, sizeof(name));
		mem_add_string(&info->features,
			       mem_printf("%s bit %u (%s)", type == 1 ? "compatible" : "autoclear",
					  bit, name));
	}
}

static void read_features(struct info *info, const struct image *image)
{
	const struct qcow2_header *h = &image->header;

	info->dirty = h->incompatible_features & QCOW2_INCOMPAT_DIRTY;
	info->corrupt = h->incompatible_features & QCOW2_INCOMPAT_CORRUPT;
	add_feature(info, h->compatible_features & QCOW2_COMPAT_LAZY_REFCOUNTS, "lazy-refcounts");
	add_feature(info, h->incompatible_features & QCOW2_INCOMPAT_EXTENDED_L2, "extended-l2");
	add_feature(info, h->compression_type == QCOW2_COMPRESSION_ZSTD, "zstd");
	add_feature(info, h->incompatible_features & QCOW2_INCOMPAT_DATA_FILE, "data-file");
	add_feature(info, h->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW, "data-file-raw");
	add_feature(info, h->has_bitmaps, "bitmaps");
	add_unknown(info, image, 1, h->compatible_features & ~QCOW2_COMPAT_LAZY_REFCOUNTS);
	add_unknown(info, image, 2, h->autoclear_features & ~QCOW2_AUTOCLEAR_KNOWN);
}

static int read_info(struct info *info, const struct target *target)
{
	const struct image *image = &target->image;
	const struct qcow2_header *h = &image->header;
	int ret;

	info->image = image->path;
	info->format = "qcow2";
	info->compat = h->version == 2 ? "v2" : "v3";
	info->virtual_size = h->size;
	info->actual_size = image->is_block ? OUT_ABSENT : (u64)image->st.st_blocks * 512;
	info->cluster_size = image->geo.cluster_size;
	info->refcount_bits = 1U << h->refcount_order;
	info->encrypted = h->crypt_method != QCOW2_CRYPT_NONE;
	info->backing = image_string(image, &h->backing_file);
	info->backing_format = image_string(image, &h->backing_format);
	info->data_file = image_string(image, &h->data_file);
	info->attached = target->device;
	read_features(info, image);
	ret = snapshot_read(image, &info->snapshots);
	return ret ? ret : bitmap_read_names(image, &info->bitmaps);
}

static void release(struct info *info)
{
	mem_free_strings(info->features);
	mem_freep(&info->backing);
	mem_freep(&info->backing_format);
	mem_freep(&info->data_file);
	snapshot_release(&info->snapshots);
	mem_free_strings(info->bitmaps);
}

static int run(void *data, char **operands)
{
	const struct args *args = data;
	struct info info = { 0 };
	struct target target;
	int ret;

	ret = target_open(&target, operands[0]);
	if (!ret)
		ret = read_info(&info, &target);
	if (!ret)
		out_object(fields, &info, args->json);
	release(&info);
	target_close(&target);
	return ret;
}

const struct cli_command cmd_info = {
	.name = "info",
	.action = "show information",
	.synopsis = "TARGET",
	.summary = "Show what the header of an image says, attached or not",
	.text = "Only the header and the lists of snapshots and bitmaps are read; no file that the\n"
		"image names is opened.\n",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
