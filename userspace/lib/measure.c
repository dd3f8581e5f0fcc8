// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Room that an image takes, counted in clusters.
 */
#include <asm/byteorder.h>
#include <string.h>
#include "check.h"
#include "edit.h"
#include "err.h"
#include "measure.h"
#include "mem.h"
#include "text.h"

static u64 divide_up(u64 value, u64 by)
{
	return value / by + !!(value % by);
}

/* Clusters for counting @clusters and themselves. */
static u64 refcount_clusters(const struct qcow2_geometry *geo, u64 clusters)
{
	u64 blocks, table, all = 0, last;

	do {
		last = all;
		blocks = divide_up(clusters + all, 1ULL << geo->refblock_bits);
		table = divide_up(blocks * sizeof(__be64), geo->cluster_size);
		all = blocks + table;
	} while (all != last);
	return all;
}

/* ------------------------------------------------------------------------
 * New
 */

int measure_new(const struct create_request *request, struct measure *measure)
{
	struct qcow2_geometry geo;
	u64 data, metadata, tables;

	qcow2_geometry_init(&geo, request->version, request->cluster_bits, request->refcount_order,
			    request->extended_l2, request->data_file, request->size);
	data = qcow2_to_clu(&geo, qcow2_round_up(&geo, request->size));
	tables = qcow2_l1_needed(&geo, request->size);
	if (tables > QCOW2_MAX_L1_BYTES / sizeof(__be64))
		return err_fail(ERR_FAILED, NULL, "a disk of %llu bytes needs clusters larger than %u bytes",
				(unsigned long long)request->size, geo.cluster_size);
	metadata = 1 + tables + divide_up(tables * sizeof(__be64), geo.cluster_size);
	if (request->data_file)
		data = 0;
	metadata += refcount_clusters(&geo, metadata + data);
	measure->required = qcow2_to_off(&geo, metadata);
	measure->fully_allocated = qcow2_to_off(&geo, metadata + data);
	return 0;
}

/* ------------------------------------------------------------------------
 * There already
 */

struct census {
	struct check check;
	u64 end;		/* one past the last cluster with a count */
	u64 blocks;		/* of counts */
	u64 own_data, own_tables;	/* that the disk writes in place */
};

static int count_used(struct census *census)
{
	struct check *check = &census->check;
	u64 hclu, count, i;
	int ret = 0;

	for (hclu = 0; !ret && hclu < check->nr_clusters; hclu++) {
		ret = check_stored_get(&check->stored, hclu, &count);
		if (ret)
			return err_errno_what(-ret, check->image->path,
					      "cannot read the refcounts");
		if (count)
			census->end = hclu + 1;
	}
	for (i = 0; i < check->stored.nr_entries; i++)
		census->blocks += !!check_stored_block(&check->stored, i);
	return 0;
}

static int count_own(void *data, struct check_table *table, const __be64 *words)
{
	struct census *census = data;
	const struct qcow2_geometry *geo = &census->check.image->geo;
	u64 goff = (u64)table->index << qcow2_l1_shift(geo);
	u32 nr = 1U << geo->l2_bits, step = geo->extended_l2 ? 2 : 1, i;

	if (table->active != 1 || table->refs != 1 || goff >= geo->virtual_size)
		return 0;
	census->own_tables++;
	for (i = 0; i < nr && goff < geo->virtual_size; i++, goff += geo->cluster_size) {
		u64 raw = be64_to_cpu(words[i * step]);

		if (raw & QCOW2_OFLAG_COPIED && !(raw & QCOW2_OFLAG_COMPRESSED))
			census->own_data++;
	}
	return 0;
}

/*
 * Clusters of the file in the end. Free ones between others count as well: an
 * allocator may want adjoining clusters and pass them over.
 */
static u64 find_end(const struct census *census)
{
	const struct image *image = census->check.image;
	const struct qcow2_geometry *geo = &image->geo;
	u64 data = qcow2_to_clu(geo, qcow2_round_up(geo, geo->virtual_size));
	u64 all = census->end + qcow2_l1_needed(geo, geo->virtual_size) - census->own_tables;
	u64 blocks, table, more = 0, last, end;

	if (!geo->data_file)
		all += data - census->own_data;
	do {
		last = more;
		end = all + more;
		blocks = divide_up(end, 1ULL << geo->refblock_bits);
		table = divide_up(blocks * sizeof(__be64), geo->cluster_size);
		more = blocks > census->blocks ? blocks - census->blocks : 0;
		/* A longer table stands beside the old one before it takes over. */
		if (table > image->header.refcount_table_clusters)
			more += table;
	} while (more > last);
	return end;
}

static int refuse_damaged(const struct image *image)
{
	MEM_FREE char *path = text_shell(image->path);
	int ret = err_fail(ERR_CORRUPT, image->path, "its metadata contradict themselves");

	err_hint("qcow2ctl repair %s", path);
	return ret;
}

static int take_census(struct census *census, const struct image *image)
{
	int ret = check_run(&census->check, image, false);

	if (ret)
		return ret;
	if (census->check.errors)
		return refuse_damaged(image);
	ret = count_used(census);
	return ret ? ret : check_tables_walk(&census->check.tables, image, count_own, census);
}

int measure_image(const char *text, struct measure *measure)
{
	MEM_FREE char *path = mem_printf("%s%s", strchr(text, '/') ? "" : "./", text);
	struct census census = { 0 };
	struct target target;
	int ret = edit_open_reader(&target, path, EDIT_READS_COUNTS, 0);

	if (!ret)
		ret = take_census(&census, &target.image);
	if (!ret) {
		measure->required = qcow2_to_off(&target.image.geo, census.end);
		measure->fully_allocated = qcow2_to_off(&target.image.geo, find_end(&census));
	}
	check_release(&census.check);
	target_close(&target);
	return ret;
}
