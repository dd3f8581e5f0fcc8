// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Discard and write-zeroes. The semantics are QEMU's (qcow2-cluster.c,
 * discard_in_l2_slice, zero_in_l2_slice): a discarded cluster always reads as
 * zeros afterwards, so with a layer below it becomes a zero cluster.
 */
#include "l2table.h"
#include "release.h"
#include "trace.h"

static bool has_below(const struct qcow2_chain *chain)
{
	return chain->nr_layers > 1;
}

bool qcow2_release_can_zero(const struct qcow2_chain *chain)
{
	return qcow2_chain_top(chain)->geo.version >= 3 || !has_below(chain);
}

u32 qcow2_release_granule(const struct qcow2_request *req)
{
	const struct qcow2_geometry *geo = &qcow2_chain_top(req->chain)->geo;

	return bio_op(req->bio) == REQ_OP_WRITE_ZEROES ? qcow2_subcluster_size(geo) :
							 geo->cluster_size;
}

/* Keep the host cluster: write-zeroes that may not unmap. */
static bool keeps_cluster(const struct qcow2_request *req)
{
	return bio_op(req->bio) == REQ_OP_WRITE_ZEROES && (req->bio->bi_opf & REQ_NOUNMAP) &&
	       qcow2_chain_top(req->chain)->geo.version >= 3;
}

/* Bytes of the piece that lie in the cluster of req->goff. */
static u32 here(const struct qcow2_request *req)
{
	const struct qcow2_geometry *geo = &qcow2_chain_top(req->chain)->geo;

	return min_t(u32, req->piece, geo->cluster_size - qcow2_in_cluster(geo, req->goff));
}

/* The subclusters there that are released; what lies past the end of the disk goes with them. */
static u32 released(const struct qcow2_request *req)
{
	const struct qcow2_geometry *geo = &qcow2_chain_top(req->chain)->geo;
	u32 in = qcow2_in_cluster(geo, req->goff), to = in + here(req);

	if (req->goff + here(req) >= geo->virtual_size)
		to = geo->cluster_size;
	return qcow2_subcluster_mask(geo, in, to);
}

/* The same for an entry with subclusters: @mask of them. */
static bool new_extended(const struct qcow2_request *req, const struct qcow2_l2_entry *entry,
			 u32 mask, u64 *raw, u64 *bitmap, bool *drop)
{
	bool compressed = entry->kind == QCOW2_CLUSTER_COMPRESSED;
	u32 alloc = entry->alloc & ~mask, zero = entry->zero | mask;

	*drop = false;
	if (!entry->has_host && !compressed && !has_below(req->chain))
		return false;
	if (!~mask && (compressed || (entry->has_host && !keeps_cluster(req)))) {
		*drop = true;
		*raw = 0;
		*bitmap = qcow2_l2_encode_bitmap(0, ~0U);
		return true;
	}
	*raw = qcow2_l2_encode(QCOW2_CLUSTER_SUBCLUSTERS, entry->hoff, entry->copied);
	*bitmap = qcow2_l2_encode_bitmap(alloc, zero);
	return alloc != entry->alloc || zero != entry->zero;
}

/*
 * The new entry for @entry. False: nothing to do. *@drop: the host cluster
 * loses a reference.
 */
static bool new_entry(const struct qcow2_request *req, const struct qcow2_l2_entry *entry,
		      u64 *raw, bool *drop)
{
	bool zero_clusters = qcow2_chain_top(req->chain)->geo.version >= 3;

	*drop = false;
	switch (entry->kind) {
	case QCOW2_CLUSTER_UNALLOCATED:
		*raw = qcow2_l2_encode(QCOW2_CLUSTER_ZERO_PLAIN, 0, false);
		return zero_clusters && has_below(req->chain);
	case QCOW2_CLUSTER_ZERO_PLAIN:
		return false;
	case QCOW2_CLUSTER_ZERO_ALLOC:
	case QCOW2_CLUSTER_DATA:
	case QCOW2_CLUSTER_COMPRESSED:
		break;
	default:
		return false;
	}
	if (keeps_cluster(req) && entry->kind != QCOW2_CLUSTER_COMPRESSED) {
		*raw = qcow2_l2_encode(QCOW2_CLUSTER_ZERO_ALLOC, entry->hoff, entry->copied);
		return entry->kind == QCOW2_CLUSTER_DATA;
	}
	*drop = true;
	*raw = zero_clusters ? qcow2_l2_encode(QCOW2_CLUSTER_ZERO_PLAIN, 0, false) : 0;
	return true;
}

/*
 * The data file keeps what is given up only as space; whoever still writes to the cluster does so
 * beside us. Before the mapping changes: after a crash data or zeros are seen.
 */
static void pass_on(const struct qcow2_request *req, u64 hoff)
{
	const struct qcow2_image *top = qcow2_chain_top(req->chain);
	u64 end = round_down(qcow2_backend_size(top->data), top->data->granule);

	if (req->chain->quarantine.punch && hoff < end)
		qcow2_backend_deallocate(top->data, hoff,
					 min_t(u64, end - hoff, top->geo.cluster_size));
}

static int change_entry(struct qcow2_request *req, struct qcow2_slice *slice)
{
	struct qcow2_image *top = qcow2_chain_top(req->chain);
	struct qcow2_freed *freed = NULL;
	struct qcow2_l2_entry entry;
	enum qcow2_verdict why;
	u64 raw, bitmap = 0, number;
	bool drop, change;
	int ret;

	why = qcow2_map_entry(&top->map, slice, req->goff, &entry);
	if (why) {
		qcow2_chain_corrupt(req->chain, 0, req->goff, why);
		return -EUCLEAN;
	}
	if (WARN_ON_ONCE(entry.kind == QCOW2_CLUSTER_COMPRESSED && top->geo.extended_l2 &&
			 ~released(req)))
		return -EIO;
	if (top->geo.extended_l2)
		change = new_extended(req, &entry, released(req), &raw, &bitmap, &drop);
	else
		change = new_entry(req, &entry, &raw, &drop);
	if (!change)
		return 0;
	if (drop && top->geo.data_file) {
		pass_on(req, entry.hoff);
		drop = false;
	}
	if (drop) {
		freed = qcow2_quarantine_alloc(&req->chain->quarantine);
		ret = qcow2_chain_given_up(req->chain, req->goff, &entry, freed);
		if (ret) {
			qcow2_quarantine_unused(&req->chain->quarantine, freed);
			return ret;
		}
	}
	number = qcow2_map_stage(&top->map, slice, req->goff, raw, bitmap);
	trace_qcow2_stage(req->goff, raw, number);
	if (drop) {
		if (entry.kind == QCOW2_CLUSTER_COMPRESSED)
			qcow2_unzip_forget(&req->chain->unzip, top, entry.hoff);
		freed->number = number;
		qcow2_quarantine_add(&req->chain->quarantine, freed);
	}
	if (req->bio->bi_opf & REQ_FUA)
		req->needs_commit = true;
	return 0;
}

/* The cell of req->goff is held. */
static int release_cluster(struct qcow2_request *req)
{
	struct qcow2_image *top = qcow2_chain_top(req->chain);
	struct qcow2_slice *slice;
	u64 table;
	int ret;

	if (qcow2_map_table(&top->map, req->goff, &table) == QCOW2_TABLE_NONE &&
	    !has_below(req->chain))
		return 0;
	ret = qcow2_l2table_own(req->chain, req->goff);
	if (ret)
		return ret;
	slice = qcow2_l2table_pin(req->chain, req->goff);
	if (IS_ERR(slice))
		return PTR_ERR(slice);
	ret = change_entry(req, slice);
	qcow2_meta_put(slice);
	return ret;
}

/* One cluster, or what the disk has of the last one, is done. */
static void step_over(struct qcow2_request *req)
{
	u32 n = here(req);

	req->goff += n;
	req->left -= n;
	req->piece -= n;
}

void qcow2_release_run(struct qcow2_request *req)
{
	const struct qcow2_geometry *geo = &qcow2_chain_top(req->chain)->geo;
	int ret;

	while (req->piece) {
		if (!req->holds_cell) {
			if (!qcow2_commit_throttle(&req->chain->commit)) {
				req->ops->stall(req);
				return;
			}
			if (!qcow2_cell_acquire(&req->chain->cells, &req->cell,
						qcow2_to_clu(geo, req->goff)))
				return;
			req->holds_cell = true;
		}
		ret = release_cluster(req);
		qcow2_request_release_cell(req);
		if (ret == -ENOSPC) {
			req->ops->park(req);
			return;
		}
		if (ret) {
			qcow2_request_blame(req, QCOW2_FAULT_WRITE, ret);
			req->ops->finish(req, qcow2_request_status(ret));
			return;
		}
		step_over(req);
	}
	req->ops->advance(req);
}
