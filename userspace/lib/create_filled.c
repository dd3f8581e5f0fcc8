// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Write a new image from front to back.
 */
#include <asm/byteorder.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "content.h"
#include "create_filled.h"
#include "err.h"
#include "../../kernel/format.h"
#include "mem.h"

#define NO_TABLE	(~0ULL)
#define BEHIND		(8U << 20)	/* bytes under way to the disk */

int create_filled_open(struct create_filled *filled, const struct create_request *request,
		       bool hides)
{
	struct create_layout *l = &filled->layout;
	struct newfile closed = NEWFILE_CLOSED;
	u64 size;
	int ret;

	memset(filled, 0, sizeof(*filled));
	filled->file = closed;
	filled->hides = hides;
	filled->request = *request;
	ret = create_find_size(request, &size);
	if (ret)
		return ret;
	qcow2_geometry_init(&l->geo, request->version, request->cluster_bits,
			    request->refcount_order, false, false, size);
	l->l1_entries = qcow2_l1_needed(&l->geo, size);
	if (l->l1_entries > QCOW2_MAX_L1_BYTES / sizeof(__be64))
		return err_fail(ERR_FAILED, request->path, "a disk of %llu bytes is too large",
				(unsigned long long)size);
	if (!l->l1_entries)
		l->l1_entries = 1;
	l->l1_clusters = create_divide(l->l1_entries * sizeof(__be64), l->geo.cluster_size);
	filled->l1 = mem_zalloc(l->l1_clusters << l->geo.cluster_bits);
	filled->l2 = mem_zalloc(l->geo.cluster_size);
	filled->l2_index = NO_TABLE;
	filled->next = 1;
	return newfile_open(&filled->file, request->path, false);
}

/* The L2 table that is complete gets its place. */
static int close_table(struct create_filled *filled)
{
	const struct create_layout *l = &filled->layout;
	int ret;

	if (filled->l2_index == NO_TABLE)
		return 0;
	ret = create_write_cluster(&filled->file, l, filled->next, filled->l2);
	filled->l1[filled->l2_index] =
		cpu_to_be64(qcow2_l1_encode(qcow2_to_off(&l->geo, filled->next++), true));
	filled->l2_index = NO_TABLE;
	return ret;
}

static int set_entry(struct create_filled *filled, u64 goff, u64 entry)
{
	const struct qcow2_geometry *geo = &filled->layout.geo;
	u64 index = qcow2_l1_index(geo, goff);
	int ret = 0;

	if (index != filled->l2_index) {
		ret = close_table(filled);
		memset(filled->l2, 0, geo->cluster_size);
		filled->l2_index = index;
	}
	filled->l2[qcow2_l2_index(geo, goff)] = cpu_to_be64(entry);
	return ret;
}

int create_filled_zeros(struct create_filled *filled, u64 goff, u64 len)
{
	const struct qcow2_geometry *geo = &filled->layout.geo;
	u64 end = goff + len;
	int ret = 0;

	if (!filled->hides)
		return 0;
	for (; !ret && goff < end; goff += geo->cluster_size)
		ret = set_entry(filled, goff, qcow2_l2_encode(QCOW2_CLUSTER_ZERO_PLAIN, 0, false));
	return ret;
}

/*
 * The disk has its share of the work all the time, instead of all of it at the end when it would make
 * others wait. What fails is found by the sync.
 */
static void push_out(const struct create_filled *filled, u64 hoff, u64 len)
{
	int fd = filled->file.fd;

	if (filled->file.is_block)
		return;
	sync_file_range(fd, hoff, len, SYNC_FILE_RANGE_WRITE);
	if (hoff > BEHIND + len)
		sync_file_range(fd, hoff - BEHIND - len, len, SYNC_FILE_RANGE_WAIT_BEFORE |
				SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

/* One run of clusters that all get a place. */
static int put_run(struct create_filled *filled, u64 goff, const char *data, u64 len)
{
	const struct qcow2_geometry *geo = &filled->layout.geo;
	u64 span = 1ULL << qcow2_l1_shift(geo), left, part, hoff, done;
	int ret = 0;

	for (; !ret && len; goff += part, data += part, len -= part) {
		left = span - (goff & (span - 1));
		part = len < left ? len : left;
		/* A new table first: what is behind it is the data. */
		ret = set_entry(filled, goff, 0);
		hoff = qcow2_to_off(geo, filled->next);
		for (done = 0; !ret && done < part; done += geo->cluster_size)
			ret = set_entry(filled, goff + done,
					qcow2_l2_encode(QCOW2_CLUSTER_DATA, hoff + done, true));
		filled->next += qcow2_to_clu(geo, part);
		if (!ret)
			ret = newfile_write(&filled->file, hoff, data, part);
		push_out(filled, hoff, part);
	}
	return ret;
}

int create_filled_data(struct create_filled *filled, u64 goff, const void *data, u64 len)
{
	u32 size = filled->layout.geo.cluster_size;
	const char *bytes = data;
	u64 at = 0, end;
	bool zero;
	int ret = 0;

	for (; !ret && at < len; at = end) {
		zero = content_is_zero(bytes + at, size);
		for (end = at + size; end < len; end += size) {
			if (content_is_zero(bytes + end, size) != zero)
				break;
		}
		ret = zero ? create_filled_zeros(filled, goff + at, end - at) :
			     put_run(filled, goff + at, bytes + at, end - at);
	}
	return ret;
}

static int write_l1(struct create_filled *filled)
{
	const struct create_layout *l = &filled->layout;
	const char *from = (const char *)filled->l1;
	int ret = 0;
	u64 i;

	for (i = 0; !ret && i < l->l1_clusters; i++)
		ret = create_write_cluster(&filled->file, l, l->l1 + i,
					   from + qcow2_to_off(&l->geo, i));
	return ret;
}

int create_filled_end(struct create_filled *filled)
{
	struct create_layout *l = &filled->layout;
	struct newfile *file = &filled->file;
	int ret = close_table(filled);

	l->l1 = filled->next;
	create_lay_out_counts(l, filled->next + l->l1_clusters);
	l->reftable = l->l1 + l->l1_clusters;
	l->refblocks = l->reftable + l->reftable_clusters;
	if (!ret)
		filled->header = create_header(&filled->request, l);
	if (!ret && !filled->header)
		ret = ERR_FAILED;
	if (!ret)
		ret = write_l1(filled);
	if (!ret)
		ret = create_write_pointers(file, l, l->reftable, l->refblocks,
					    l->refblock_clusters, 0);
	if (!ret)
		ret = create_write_counts(file, l);
	return ret ? ret : newfile_sync(file);
}

int create_filled_seal(struct create_filled *filled)
{
	int ret = create_write_cluster(&filled->file, &filled->layout, 0, filled->header);

	return ret ? ret : newfile_sync(&filled->file);
}

/* A device keeps what is on it; a file without a name is gone. */
static void wipe(struct create_filled *filled)
{
	MEM_FREE char *nothing = mem_zalloc(filled->layout.geo.cluster_size);

	if (filled->file.is_block && filled->header)
		create_write_cluster(&filled->file, &filled->layout, 0, nothing);
}

void create_filled_close(struct create_filled *filled, bool discard)
{
	if (discard && filled->file.fd >= 0)
		wipe(filled);
	newfile_close(&filled->file, discard);
	free(filled->l1);
	free(filled->l2);
	free(filled->header);
}
