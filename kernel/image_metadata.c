// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Tables into memory, and where all the metadata of the image lies.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include "image_metadata.h"
#include "reftable.h"

#define SNAPSHOT_WINDOW	(64U << 10)	/* holds every usual entry, but not two names of 64 KiB */
#define SNAPSHOT_MAX	(256U << 10)

/* Add the clusters of [@hoff, @hoff + @len). An overlap makes the image damaged. */
static int add_clusters(struct qcow2_image *image, u64 hoff, u64 len, const char *what)
{
	const struct qcow2_geometry *geo = &image->geo;
	u64 hclu = qcow2_to_clu(geo, hoff);
	u64 end = qcow2_to_clu(geo, qcow2_round_up(geo, hoff + len));
	int ret;

	for (; hclu < end; hclu++) {
		ret = qcow2_metaset_add(&image->metaset, hclu);
		if (ret == -EEXIST) {
			DMERR_LIMIT("%s at 0x%llx overlaps other metadata", what,
				    qcow2_to_off(geo, hclu));
			image->damaged = true;
		} else if (ret) {
			return ret;
		}
	}
	return 0;
}

/*
 * The length of the snapshot table, which only its entries tell. A table that
 * cannot be decoded is protected as far as it could be.
 */
static int snapshot_table_length(struct qcow2_image *image, u64 *length)
{
	const struct qcow2_header *h = &image->header;
	struct qcow2_snapshot snap;
	u64 start = 0, have = 0;
	u32 i, window = SNAPSHOT_WINDOW;
	void *buf;
	int ret = 0;

	*length = 0;
	buf = kvmalloc(SNAPSHOT_MAX, GFP_NOIO);
	if (!buf)
		return -ENOMEM;
	for (i = 0; i < h->nb_snapshots && *length < QCOW2_MAX_SNAPSHOT_TABLE_BYTES; ) {
		if (have && !qcow2_snapshot_decode(buf, have, *length - start, &snap)) {
			*length += snap.length;
			i++;
			continue;
		}
		if (have && start == *length) {
			if (window == SNAPSHOT_MAX)
				break;
			window = SNAPSHOT_MAX;
		}
		start = *length;
		have = window;
		ret = qcow2_backend_read(&image->backend, h->snapshots_offset + start, buf, have);
		if (ret)
			break;
	}
	kvfree(buf);
	return ret;
}

static int collect_fixed(struct qcow2_image *image)
{
	const struct qcow2_header *h = &image->header;
	u64 length;
	int ret;

	ret = add_clusters(image, 0, 1, "header");
	if (!ret)
		ret = add_clusters(image, h->l1_table_offset, (u64)h->l1_size * sizeof(__be64),
				   "L1 table");
	if (!ret)
		ret = add_clusters(image, h->refcount_table_offset,
				   (u64)h->refcount_table_clusters << h->cluster_bits,
				   "refcount table");
	if (ret || !h->nb_snapshots)
		return ret;
	ret = snapshot_table_length(image, &length);
	return ret ?: add_clusters(image, h->snapshots_offset, length, "snapshot table");
}

/*
 * The active L2 tables. Two L1 entries may share a table only if neither is
 * ours alone; the lookup refuses a broken entry by itself.
 */
static int collect_tables(struct qcow2_image *image)
{
	u32 shift = image->geo.slice_bits - 3;
	enum qcow2_verdict verdict;
	u64 hoff;
	bool copied;
	int ret;
	u32 i;

	for (i = 0; i < image->map.l1_size; i++) {
		verdict = qcow2_l1_decode(&image->geo,
					  qcow2_slice_word(image->map.l1[i >> shift],
							   i & ((1U << shift) - 1)),
					  &hoff, &copied);
		if (verdict || (hoff && hoff >= image->map.end)) {
			DMERR_LIMIT("L1 entry %u: %s", i,
				    qcow2_verdict_text(verdict ?: QCOW2_L1_RANGE));
			image->damaged = true;
			continue;
		}
		if (!hoff)
			continue;
		ret = qcow2_metaset_add(&image->metaset, qcow2_to_clu(&image->geo, hoff));
		if (ret == -EEXIST && copied) {
			DMERR_LIMIT("L2 table at 0x%llx overlaps other metadata", hoff);
			image->damaged = true;
		} else if (ret && ret != -EEXIST) {
			return ret;
		}
		if (!(i & 1023))
			cond_resched();
	}
	return 0;
}

static int collect_blocks(struct qcow2_image *image)
{
	struct qcow2_refcount *rc = &image->rc;
	u64 index, hoff, nr = qcow2_reftable_entries(rc);
	int ret;

	for (index = 0; index < nr; index++) {
		if (qcow2_reftable_block(rc, index, &hoff)) {
			DMERR_LIMIT("refcount table entry %llu is broken", index);
			image->damaged = true;
			continue;
		}
		ret = hoff ? add_clusters(image, hoff, 1, "refcount block") : 0;
		if (ret)
			return ret;
		if (!(index & 1023))
			cond_resched();
	}
	return 0;
}

int qcow2_image_metadata_read(struct qcow2_image *image)
{
	const struct qcow2_header *h = &image->header;
	int ret;

	ret = collect_fixed(image);
	if (!ret)
		ret = qcow2_map_open(&image->map, h->l1_table_offset, h->l1_size);
	if (!ret && image->writable)
		ret = qcow2_refcount_open(&image->rc, h->refcount_table_offset,
					  h->refcount_table_clusters);
	if (!ret && image->writable)
		ret = collect_blocks(image);
	if (!ret)
		ret = collect_tables(image);
	if (ret)
		qcow2_image_metadata_forget(image);
	return ret;
}

void qcow2_image_metadata_forget(struct qcow2_image *image)
{
	qcow2_meta_drop_all(&image->meta);
	qcow2_refcount_close(&image->rc);
	qcow2_map_close(&image->map);
	qcow2_metaset_clear(&image->metaset);
	qcow2_unwritten_clear(&image->unwritten);
}
