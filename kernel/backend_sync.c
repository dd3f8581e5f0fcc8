// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Moving metadata between kernel buffers and the file or block device of an
 * image, and guest data that direct I/O cannot move in place; the caller waits.
 */
#include <linux/highmem.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>
#include "backend_io.h"
#include "trace.h"

#define VECS	16	/* pages of a vmalloc buffer in one go */

/* A piece of memory that one call moves. */
struct piece {
	struct bio_vec vec[VECS];
	unsigned int vecs;
	size_t len;
};

static void add_vec(struct piece *piece, struct page *page, unsigned int len,
		    unsigned int offset)
{
	bvec_set_page(&piece->vec[piece->vecs++], page, len, offset);
	piece->len += len;
}

static void fill_from_vmalloc(struct piece *piece, const void *buf, size_t len,
			      u32 granule)
{
	while (piece->len < len && piece->vecs < VECS) {
		const void *at = buf + piece->len;
		unsigned int offset = offset_in_page(at);

		add_vec(piece, vmalloc_to_page(at),
			min_t(size_t, len - piece->len, PAGE_SIZE - offset),
			offset);
	}
	/* The next piece must begin at a multiple of the granule. */
	if (piece->len < len)
		piece->len = round_down(piece->len, granule);
}

/* As much of @len as one piece holds; no @buf stands for zeros. */
static void fill_piece(struct piece *piece, const void *buf, size_t len,
		       u32 granule)
{
	piece->vecs = 0;
	piece->len = 0;
	if (!buf)
		while (piece->len < len && piece->vecs < VECS)
			add_vec(piece, ZERO_PAGE(0),
				min_t(size_t, len - piece->len, PAGE_SIZE), 0);
	else if (is_vmalloc_addr(buf))
		fill_from_vmalloc(piece, buf, len, granule);
	else
		add_vec(piece, virt_to_page(buf), min_t(size_t, len, SZ_1M),
			offset_in_page(buf));
}

/* Returns the bytes moved, which may be fewer than asked, or an error. */
static ssize_t move_file_piece(struct qcow2_backend *backend, u64 hoff,
			       const struct piece *piece, bool write, bool fua)
{
	struct file *file = backend->file;
	struct kiocb iocb = {
		.ki_filp = file,
		.ki_pos = hoff,
		.ki_flags = qcow2_backend_iocb_flags(backend, write, fua),
	};
	struct iov_iter iter;
	ssize_t ret;

	iov_iter_bvec(&iter, write ? ITER_SOURCE : ITER_DEST, piece->vec,
		      piece->vecs, piece->len);
	if (write)
		file_start_write(file);
	ret = qcow2_backend_call(&iocb, &iter, write);
	if (write)
		file_end_write(file);
	return ret;
}

static ssize_t move_bdev_piece(struct qcow2_backend *backend, u64 hoff,
			       struct piece *piece, bool write, bool fua)
{
	struct bio bio;
	int ret;

	bio_init(&bio, backend->bdev, piece->vec, piece->vecs,
		 qcow2_backend_bio_flags(write, fua) | REQ_META | REQ_PRIO);
	bio.bi_vcnt = piece->vecs;
	bio.bi_iter.bi_size = piece->len;
	bio.bi_iter.bi_sector = hoff >> SECTOR_SHIFT;
	ret = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return ret ?: piece->len;
}

/*
 * Everything in place: offsets, length and memory are as direct I/O wants
 * them. A short count is continued from the multiple of the granule below it.
 */
static int move_aligned(struct qcow2_backend *backend, u64 hoff, void *buf,
			size_t len, bool write, bool fua)
{
	struct piece piece;
	size_t pos = 0, next;
	ssize_t ret;

	while (pos < len) {
		fill_piece(&piece, buf ? buf + pos : NULL, len - pos,
			   backend->granule);
		ret = backend->bdev ?
		      move_bdev_piece(backend, hoff + pos, &piece, write, fua) :
		      move_file_piece(backend, hoff + pos, &piece, write, fua);
		if (ret < 0)
			return qcow2_backend_error(ret);
		next = pos + ret;
		if (ret == piece.len) {
			pos = next;
			continue;
		}
		if (!write && hoff + next >= qcow2_backend_size(backend)) {
			memset(buf + next, 0, len - next);
			return 0;
		}
		next = round_down(next, backend->granule);
		if (next == pos)
			return -EIO;
		pos = next;
	}
	return 0;
}

/* Can a transfer with @buf be done in place? */
static bool is_in_place(const struct qcow2_backend *backend, u64 hoff,
			const void *buf, size_t len)
{
	unsigned long address = (unsigned long)buf;

	if (!backend->direct)
		return true;
	if (!qcow2_backend_is_aligned(backend, hoff, len))
		return false;
	/* Pages of a vmalloc buffer are segments, each of which must fit. */
	if (is_vmalloc_addr(buf) && len > PAGE_SIZE - offset_in_page(buf) &&
	    !IS_ALIGNED(address, min_t(u32, backend->granule, PAGE_SIZE)))
		return false;
	return qcow2_backend_is_segment_aligned(backend, address, len);
}

/*
 * Read what covers @hoff into @bounce, as much as fits. Returns where @hoff is
 * in it and sets *@got to the bytes from there on, at most @len; or an error.
 */
static int read_window(struct qcow2_backend *backend, u64 hoff, size_t len,
		       void *bounce, size_t *got)
{
	u64 start = round_down(hoff, backend->granule);
	u64 end = min(round_up(hoff + len, backend->granule),
		      start + backend->bounce_size);
	int ret = move_aligned(backend, start, bounce, end - start, false,
			       false);

	*got = min_t(u64, len, end - hoff);
	return ret ?: hoff - start;
}

static void *get_bounce(struct qcow2_backend *backend)
{
	return mempool_alloc(&backend->bounce, GFP_NOIO);
}

static void put_bounce(struct qcow2_backend *backend, void *bounce)
{
	mempool_free(bounce, &backend->bounce);
}

static int read_bounced(struct qcow2_backend *backend, u64 hoff, void *buf,
			size_t len)
{
	void *bounce = get_bounce(backend);
	size_t got;
	int ret = 0;

	while (len) {
		ret = read_window(backend, hoff, len, bounce, &got);
		if (ret < 0)
			break;
		memcpy(buf, bounce + ret, got);
		ret = 0;
		hoff += got;
		buf += got;
		len -= got;
	}
	put_bounce(backend, bounce);
	return ret;
}

static int write_bounced(struct qcow2_backend *backend, u64 hoff,
			 const void *buf, size_t len)
{
	void *bounce = get_bounce(backend);
	size_t part;
	int ret = 0;

	while (len && !ret) {
		part = min_t(size_t, len, backend->bounce_size);
		memcpy(bounce, buf, part);
		ret = move_aligned(backend, hoff, bounce, part, true, false);
		hoff += part;
		buf += part;
		len -= part;
	}
	put_bounce(backend, bounce);
	return ret;
}

int qcow2_backend_read(struct qcow2_backend *backend, u64 hoff, void *buf,
		       size_t len)
{
	int ret;

	might_sleep();
	ret = qcow2_backend_check_end(backend, hoff, len, false);
	if (ret)
		return ret;
	if (!is_in_place(backend, hoff, buf, len))
		return read_bounced(backend, hoff, buf, len);
	ret = move_aligned(backend, hoff, buf, len, false, false);
	if (is_vmalloc_addr(buf))
		invalidate_kernel_vmap_range(buf, len);
	return ret;
}

int qcow2_backend_read_table(struct qcow2_backend *backend, u64 hoff, void *buf,
			     size_t len, u32 cluster_size)
{
	if (hoff >= round_up(qcow2_backend_size(backend), cluster_size))
		return -EUCLEAN;
	return qcow2_backend_read(backend, hoff, buf, len);
}

int qcow2_backend_write(struct qcow2_backend *backend, u64 hoff,
			const void *buf, size_t len)
{
	int ret;

	might_sleep();
	if (!qcow2_backend_is_aligned(backend, hoff, len))
		return -EINVAL;
	ret = qcow2_backend_check_end(backend, hoff, len, true);
	if (ret)
		return ret;
	if (!is_in_place(backend, hoff, buf, len))
		return write_bounced(backend, hoff, buf, len);
	if (is_vmalloc_addr(buf))
		flush_kernel_vmap_range((void *)buf, len);
	return move_aligned(backend, hoff, (void *)buf, len, true, false);
}

int qcow2_backend_write_zeros(struct qcow2_backend *backend, u64 hoff, u64 len)
{
	return move_aligned(backend, hoff, NULL, len, true, false);
}

/* Copy @len bytes between @bounce and the memory of @xfer, advancing @iter. */
static void copy_part(const struct qcow2_xfer *xfer, struct bvec_iter *iter,
		      char *bounce, unsigned int len)
{
	struct bio_vec bv;

	while (len) {
		bv = bvec_iter_bvec(xfer->bvec, *iter);
		bv.bv_len = min(bv.bv_len, len);
		if (xfer->write)
			memcpy_from_bvec(bounce, &bv);
		else
			memcpy_to_bvec(&bv, bounce);
		bvec_iter_advance_single(xfer->bvec, iter, bv.bv_len);
		bounce += bv.bv_len;
		len -= bv.bv_len;
	}
}

int qcow2_backend_bounce(struct qcow2_xfer *xfer)
{
	struct qcow2_backend *backend = xfer->backend;
	struct bvec_iter iter = xfer->iter;
	u64 hoff = xfer->hoff;
	size_t part;
	void *bounce;
	int ret = 0;

	if (xfer->write &&
	    !qcow2_backend_is_aligned(backend, hoff, iter.bi_size))
		return -EINVAL;
	trace_qcow2_copy(hoff, iter.bi_size, xfer->write);
	bounce = get_bounce(backend);
	while (iter.bi_size && ret >= 0) {
		if (xfer->write) {
			part = min(iter.bi_size, backend->bounce_size);
			copy_part(xfer, &iter, bounce, part);
			ret = move_aligned(backend, hoff, bounce, part, true,
					   xfer->fua);
		} else {
			ret = read_window(backend, hoff, iter.bi_size, bounce,
					  &part);
			if (ret >= 0)
				copy_part(xfer, &iter, bounce + ret, part);
		}
		hoff += part;
	}
	put_bounce(backend, bounce);
	return min(ret, 0);
}
