// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The allocating write as a table of steps:
 *
 *   RESERVE  an L2 table of our own, its slice in memory, a host cluster
 *   FILL     what the guest sees in the rest of the cluster, or zeros
 *   DATA     one write of the whole cluster, or of the guest's part where the
 *            rest needs nothing
 *   STAGE    the new mapping in memory, the old cluster to quarantine
 *   DONE     the cell is free
 *
 * With extended L2 "the rest" is that of the subclusters that the guest's part
 * touches: the others keep their bits, so nobody sees what lies in their place.
 * Only a cluster that is shared or compressed is copied, with all that it has.
 * A host cluster that is ours is kept, and gets further subclusters. One of them
 * that has data already may be written by others meanwhile, who need no cell
 * for that: the piece ends before it, and it is never read and written back.
 *
 * The mapping changes only after the data write has completed (commit.c,
 * invariant 1). An error before STAGE gives the cluster back and leaves the
 * old mapping untouched.
 */
#include <linux/mm.h>
#include <linux/mempool.h>
#include <linux/slab.h>
#include "cow.h"
#include "l2table.h"
#include "trace.h"

#define FILL_BYTES	(64U << 10)
/* Every segment of a bio is at least a sector long. */
#define FILL_SEGMENTS	(FILL_BYTES / 512 + 2)

/*
 * What the rest of a cluster is filled with. Larger clusters are filled part
 * by part through the same buffer.
 */
struct qcow2_fill {
	u8 *buffer;			/* FILL_BYTES */
	struct bio_vec bvec[FILL_SEGMENTS];
};

enum { STEP_NEXT, STEP_AGAIN, STEP_ASYNC, STEP_ENDED };

static void *fill_alloc(gfp_t gfp, void *data)
{
	struct qcow2_fill *fill = kmalloc(sizeof(*fill), gfp);

	if (!fill)
		return NULL;
	fill->buffer = qcow2_backend_buffer(FILL_BYTES, gfp);
	if (!fill->buffer) {
		kfree(fill);
		return NULL;
	}
	return fill;
}

static void fill_free(void *element, void *data)
{
	struct qcow2_fill *fill = element;

	free_pages((unsigned long)fill->buffer, get_order(FILL_BYTES));
	kfree(fill);
}

int qcow2_cow_reserve(struct qcow2_chain *chain)
{
	if (!chain->writable || mempool_initialized(&chain->fills))
		return 0;
	return mempool_init(&chain->fills, 1, fill_alloc, fill_free, NULL);
}

void qcow2_cow_exit(struct qcow2_chain *chain)
{
	mempool_exit(&chain->fills);
}

static struct qcow2_image *req_top(const struct qcow2_request *req)
{
	return qcow2_chain_top(req->chain);
}

/* Guest offset of the cluster that the piece lies in. */
static u64 cluster_goff(const struct qcow2_request *req)
{
	return req->goff - qcow2_in_cluster(&req_top(req)->geo, req->goff);
}

static bool req_writes_zeros(const struct qcow2_request *req)
{
	return bio_op(req->bio) == REQ_OP_WRITE_ZEROES;
}

/* ------------------------------------------------------------------------
 * RESERVE
 */

/* Is the host cluster ours already, and nobody's data where the piece goes? */
static bool keeps_host(const struct qcow2_request *req, const struct qcow2_l2_entry *entry)
{
	return entry->copied && (entry->kind == QCOW2_CLUSTER_ZERO_ALLOC ||
				 req_top(req)->geo.extended_l2);
}

/* Host cluster for the piece: the one that is there, or a new one. */
static int reserve_cluster(struct qcow2_request *req, const struct qcow2_l2_entry *entry)
{
	struct qcow2_image *top = req_top(req);
	int ret;

	req->reused = keeps_host(req, entry);
	if (top->geo.data_file) {
		req->cluster.hoff = cluster_goff(req);
		req->cluster.zeroed = false;
		return 0;
	}
	if (req->reused) {
		req->cluster.hoff = entry->hoff;
		req->cluster.zeroed = false;
		return 0;
	}
	if (entry->hoff || entry->kind == QCOW2_CLUSTER_COMPRESSED) {
		req->freed = qcow2_quarantine_alloc(&req->chain->quarantine);
		ret = qcow2_chain_given_up(req->chain, req->goff, entry, req->freed);
		if (ret)
			return ret;
	}
	req->zipped_hoff = entry->kind == QCOW2_CLUSTER_COMPRESSED ? entry->hoff : 0;
	return qcow2_l2table_reserve(req->chain, &req->cluster);
}

/* A cluster that is kept: up to the next subcluster that has data. */
static int cut_piece(struct qcow2_request *req, const struct qcow2_l2_entry *entry)
{
	const struct qcow2_geometry *geo = &req_top(req)->geo;
	u32 index = qcow2_subcluster_index(geo, req->goff), data = entry->alloc >> index;
	u32 end;

	if (!data)
		return 0;
	if (WARN_ON_ONCE(data & 1))	/* looked up with the cell in hand: not data */
		return -EIO;
	end = (index + __ffs(data)) << geo->subcluster_bits;
	req->piece = min(req->piece, end - qcow2_in_cluster(geo, req->goff));
	return 0;
}

/* Which subclusters are written, and the bits of all. */
static int choose_subclusters(struct qcow2_request *req, const struct qcow2_l2_entry *entry)
{
	const struct qcow2_geometry *geo = &req_top(req)->geo;
	u32 in = qcow2_in_cluster(geo, req->goff);
	int ret = 0;

	if (req->reused && geo->extended_l2)
		ret = cut_piece(req, entry);
	if (ret)
		return ret;
	req->fresh = qcow2_subcluster_mask(geo, in, in + req->piece);
	if (!geo->extended_l2)
		return 0;
	if (entry->kind == QCOW2_CLUSTER_COMPRESSED)
		req->fresh = ~0U;
	else if (!req->reused)
		req->fresh |= entry->alloc;
	req->bitmap = qcow2_l2_encode_bitmap(entry->alloc | req->fresh, entry->zero & ~req->fresh);
	return 0;
}

/* What is written to the new cluster lies between these bytes of it. */
static u32 fresh_from(const struct qcow2_request *req)
{
	return __ffs(req->fresh) << req_top(req)->geo.subcluster_bits;
}

static u32 fresh_to(const struct qcow2_request *req)
{
	const struct qcow2_image *top = req_top(req);
	u32 to = (__fls(req->fresh) + 1) << top->geo.subcluster_bits;

	/* A data file may end where the disk does. */
	if (top->geo.data_file)
		to = min_t(u64, to, round_up(top->size - cluster_goff(req), top->data->granule));
	return to;
}

static int step_reserve(struct qcow2_request *req)
{
	struct qcow2_image *top = req_top(req);
	struct qcow2_l2_entry entry;
	enum qcow2_verdict why;
	int ret;

	ret = qcow2_l2table_own(req->chain, req->goff);
	if (ret)
		return ret;
	req->slice = qcow2_l2table_pin(req->chain, req->goff);
	if (IS_ERR(req->slice)) {
		ret = PTR_ERR(req->slice);
		req->slice = NULL;
		return ret;
	}
	why = qcow2_map_entry(&top->map, req->slice, req->goff, &entry);
	if (why) {
		qcow2_chain_corrupt(req->chain, 0, req->goff, why);
		return -EUCLEAN;
	}
	ret = reserve_cluster(req, &entry);
	return ret ?: choose_subclusters(req, &entry);
}

/* ------------------------------------------------------------------------
 * FILL
 */

/* Remember of a file what is going to be written: all that is fresh, or @len bytes of the piece. */
static void note_written(struct qcow2_request *req, u32 len)
{
	struct qcow2_image *top = req_top(req);
	u32 from = fresh_from(req), size = fresh_to(req) - from;
	u64 hoff = req->cluster.hoff + from;

	if (top->data->bdev)
		return;
	if (len < size) {
		qcow2_unwritten_add(&top->unwritten, hoff, size, GFP_NOIO);
		hoff = req->cluster.hoff + (req->goff - cluster_goff(req));
	}
	qcow2_unwritten_remove(&top->unwritten, hoff, len);
}

/* Does [@goff, @goff + @len) of the guest, cut at the disk's end, read as zeros? */
static int reads_zero(struct qcow2_request *req, u64 goff, u64 len, bool *zero)
{
	u64 size = req_top(req)->size;

	*zero = true;
	if (goff >= size)
		return 0;
	return qcow2_chain_is_zero(req->chain, goff, min(len, size - goff), zero);
}

/* What the guest sees in the range into @buf; zeros past the end of the disk. */
static int read_visible(struct qcow2_request *req, u64 goff, u8 *buf, u32 len)
{
	u64 size = req_top(req)->size;
	u32 n = goff >= size ? 0 : min_t(u64, len, size - goff);

	memset(buf + n, 0, len - n);
	return n ? qcow2_chain_read(req->chain, goff, buf, n) : 0;
}

/* Fill [@from, @to) of a cluster that is too large for the buffer. */
static int fill_part(struct qcow2_request *req, u32 from, u32 to)
{
	struct qcow2_backend *backend = req_top(req)->data;
	u64 goff = cluster_goff(req);
	bool zero;
	int ret;
	u32 n;

	for (; from < to; from += n) {
		n = min(to - from, FILL_BYTES);
		ret = reads_zero(req, goff + from, n, &zero);
		if (!ret && zero && req->cluster.zeroed)
			continue;
		if (!ret && zero) {
			ret = qcow2_backend_zero(backend, req->cluster.hoff + from, n);
		} else if (!ret) {
			ret = read_visible(req, goff + from, req->fill->buffer, n);
			if (!ret)
				ret = qcow2_backend_write(backend, req->cluster.hoff + from,
							  req->fill->buffer, n);
		}
		if (ret)
			return ret;
	}
	return 0;
}

/* The guest's own segments as bvecs; gives how many. */
static unsigned int guest_bvecs(struct qcow2_request *req, struct bio_vec *bvec)
{
	struct bvec_iter iter = req->iter, at;
	struct bio_vec segment;
	unsigned int nr = 0;

	iter.bi_size = req->piece;
	for_each_bvec(segment, req->bio->bi_io_vec, at, iter)
		bvec[nr++] = segment;
	return nr;
}

static void xfer_of(struct qcow2_request *req, const struct bio_vec *bvec, u32 len, u64 hoff)
{
	struct qcow2_xfer *xfer = &req->xfer;

	xfer->backend = req_top(req)->data;
	xfer->bvec = bvec;
	xfer->iter = (struct bvec_iter){ .bi_size = len };
	xfer->hoff = hoff;
	xfer->write = true;
	xfer->fua = false;
	xfer->ret = 0;
}

static void bvec_of(struct bio_vec *bvec, u8 *buf, u32 len)
{
	bvec->bv_page = virt_to_page(buf);
	bvec->bv_offset = offset_in_page(buf);
	bvec->bv_len = len;
}

/* One write: what was before the piece, the piece, what was behind it. */
static int fill_merged(struct qcow2_request *req)
{
	u32 from = fresh_from(req), size = fresh_to(req) - from;
	u32 in = req->goff - cluster_goff(req) - from, end = in + req->piece;
	struct qcow2_fill *fill = req->fill;
	unsigned int nr = 0;
	int ret;

	ret = read_visible(req, cluster_goff(req) + from, fill->buffer, in);
	if (!ret)
		ret = read_visible(req, req->goff + req->piece, fill->buffer + end, size - end);
	if (ret)
		return ret;
	if (req_writes_zeros(req)) {
		memset(fill->buffer + in, 0, req->piece);
		bvec_of(&fill->bvec[nr++], fill->buffer, size);
	} else {
		if (in)
			bvec_of(&fill->bvec[nr++], fill->buffer, in);
		nr += guest_bvecs(req, &fill->bvec[nr]);
		if (end < size)
			bvec_of(&fill->bvec[nr++], fill->buffer + end, size - end);
	}
	note_written(req, size);
	xfer_of(req, fill->bvec, size, req->cluster.hoff + from);
	return STEP_NEXT;
}

/* The lowest bits in a row of *@mask, [*@from, *@to), which are taken off it. */
static bool next_run(u32 *mask, u32 *from, u32 *to)
{
	u32 beyond;

	if (!*mask)
		return false;
	*from = __ffs(*mask);
	beyond = ~*mask & ~0U << *from;
	*to = beyond ? __ffs(beyond) : 32;
	*mask &= ~GENMASK(*to - 1, *from);
	return true;
}

/* Fill the rest in parts; then only the piece itself is left to write. */
static int fill_parts(struct qcow2_request *req)
{
	u32 bits = req_top(req)->geo.subcluster_bits, in = req->goff - cluster_goff(req);
	u32 end = in + req->piece, from = 0, to = 0, left = req->fresh;
	int ret = 0;

	while (!ret && next_run(&left, &from, &to)) {
		from <<= bits;
		to = min(to << bits, fresh_to(req));
		ret = fill_part(req, from, min(to, max(from, in)));
		if (!ret)
			ret = fill_part(req, max(from, min(to, end)), to);
	}
	return ret;
}

/* Write only the guest's part. */
static int data_alone(struct qcow2_request *req)
{
	u32 in = req->goff - cluster_goff(req);

	note_written(req, req->piece);
	xfer_of(req, req->bio->bi_io_vec, req->piece, req->cluster.hoff + in);
	req->xfer.iter = req->iter;
	req->xfer.iter.bi_size = req->piece;
	return STEP_NEXT;
}

static int step_fill(struct qcow2_request *req)
{
	u32 from = fresh_from(req), to = fresh_to(req), in = req->goff - cluster_goff(req);
	bool head = true, tail = true;
	int ret = 0;

	if (req->piece == to - from && !req_writes_zeros(req))
		return data_alone(req);
	if (req->cluster.zeroed) {
		ret = reads_zero(req, cluster_goff(req) + from, in - from, &head);
		if (!ret)
			ret = reads_zero(req, req->goff + req->piece, to - in - req->piece, &tail);
		if (ret)
			return ret;
		if (head && tail && !req_writes_zeros(req))
			return data_alone(req);
	}
	qcow2_stat_inc(req->chain->stats, QCOW2_STAT_COWS);
	req->fill = mempool_alloc(&req->chain->fills, GFP_NOIO);
	if (to - from <= FILL_BYTES)
		return fill_merged(req);
	ret = fill_parts(req);
	if (ret)
		return ret;
	if (!req_writes_zeros(req))
		return data_alone(req);
	note_written(req, 0);
	if (!req->cluster.zeroed)
		ret = qcow2_backend_zero(req_top(req)->data, req->cluster.hoff + in, req->piece);
	req->xfer.ret = 0;
	req->step = QCOW2_STEP_DATA;	/* the zeros are written: skip it */
	return ret ?: STEP_NEXT;
}

/* ------------------------------------------------------------------------
 * DATA, STAGE, DONE
 */

static void data_done(struct qcow2_xfer *xfer)
{
	struct qcow2_request *req = container_of(xfer, struct qcow2_request, xfer);

	if (atomic_dec_and_test(&req->data_refs))
		req->ops->again(req);
}

/* What has ended when the submission returns goes on here, without a way through the lane. */
static int step_data(struct qcow2_request *req)
{
	req->xfer.done = data_done;
	req->step = QCOW2_STEP_STAGE;
	atomic_set(&req->data_refs, 2);
	qcow2_backend_submit(&req->xfer);
	return atomic_dec_and_test(&req->data_refs) ? STEP_AGAIN : STEP_ASYNC;
}

static void release_memory(struct qcow2_request *req)
{
	if (req->fill)
		mempool_free(req->fill, &req->chain->fills);
	if (req->slice)
		qcow2_meta_put(req->slice);
	req->fill = NULL;
	req->slice = NULL;
}

static int step_stage(struct qcow2_request *req)
{
	u64 raw = qcow2_l2_encode(QCOW2_CLUSTER_DATA, req->cluster.hoff, true);
	u64 number;

	if (req->xfer.ret)
		return req->xfer.ret;
	number = qcow2_map_stage(&req_top(req)->map, req->slice, req->goff, raw, req->bitmap);
	trace_qcow2_stage(req->goff, req->cluster.hoff, number);
	if (req->freed) {
		req->freed->number = number;
		if (req->zipped_hoff)
			qcow2_unzip_forget(&req->chain->unzip, req_top(req), req->zipped_hoff);
		qcow2_quarantine_add(&req->chain->quarantine, req->freed);
		req->freed = NULL;
	}
	qcow2_stat_inc(req->chain->stats, QCOW2_STAT_ALLOCS);
	return STEP_NEXT;
}

static int step_done(struct qcow2_request *req)
{
	req->step = QCOW2_STEP_NONE;
	req->cluster.hoff = 0;
	if (req->bio->bi_opf & REQ_FUA)
		req->needs_commit = true;
	release_memory(req);
	qcow2_request_release_cell(req);
	req->ops->allocated(req);
	return STEP_ENDED;
}

/* Undo what was reserved; the old mapping was never touched. */
static void cow_failed(struct qcow2_request *req, int ret)
{
	if (req->freed)
		qcow2_quarantine_unused(&req->chain->quarantine, req->freed);
	if (req->cluster.hoff && !req->reused && !req_top(req)->geo.data_file)
		qcow2_refcount_unreserve(&req_top(req)->rc, req->cluster.hoff);
	req->freed = NULL;
	req->cluster.hoff = 0;
	req->step = QCOW2_STEP_NONE;
	release_memory(req);
	qcow2_request_release_cell(req);
	if (ret == -ENOSPC) {
		req->ops->park(req);
		return;
	}
	qcow2_request_blame(req, QCOW2_FAULT_WRITE, ret);
	req->ops->finish(req, qcow2_request_status(ret));
}

static int (* const steps[])(struct qcow2_request *req) = {
	[QCOW2_STEP_RESERVE] = step_reserve,
	[QCOW2_STEP_FILL] = step_fill,
	[QCOW2_STEP_DATA] = step_data,
	[QCOW2_STEP_STAGE] = step_stage,
	[QCOW2_STEP_DONE] = step_done,
};

void qcow2_cow_run(struct qcow2_request *req)
{
	int ret;

	if (req->step == QCOW2_STEP_NONE)
		req->step = QCOW2_STEP_RESERVE;
	for (;;) {
		ret = steps[req->step](req);
		if (ret == STEP_AGAIN)
			continue;
		if (ret == STEP_ASYNC || ret == STEP_ENDED)
			return;
		if (ret < 0) {
			cow_failed(req, ret);
			return;
		}
		req->step++;
	}
}
