/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What the asynchronous and the synchronous way of moving bytes share. Only
 * for the files of backend.
 */
#ifndef QCOW2_BACKEND_IO_H
#define QCOW2_BACKEND_IO_H

#include <linux/uio.h>
#include "backend.h"

/*
 * Callers tell a full file system from a broken one (a quota is the former),
 * and a refusal of the inline attempt from everything else.
 */
static inline int qcow2_backend_error(long result)
{
	if (result == -EDQUOT)
		return -ENOSPC;
	if (result == -EAGAIN || result == -EIOCBQUEUED)
		return -EIO;
	return result;
}

/* 0, or what a transfer ends with that leaves the block device or all files. */
static inline int qcow2_backend_check_end(const struct qcow2_backend *backend,
					  u64 hoff, u64 len, bool write)
{
	u64 end = backend->bdev ? qcow2_backend_size(backend) : MAX_LFS_FILESIZE;

	if (hoff <= end && len <= end - hoff)
		return 0;
	if (!write)
		return -EIO;
	return backend->bdev ? -ENOSPC : -EFBIG;
}

static inline bool qcow2_backend_is_aligned(const struct qcow2_backend *backend,
					    u64 hoff, u64 len)
{
	return !((hoff | len) & (backend->granule - 1));
}

/*
 * Some kernels want each segment of memory, not only the sum, to be a multiple
 * of the logical block.
 */
static inline bool
qcow2_backend_is_segment_aligned(const struct qcow2_backend *backend,
				 unsigned long address, size_t len)
{
	u32 unit = min_t(u32, backend->granule, PAGE_SIZE);

	return !backend->direct || (!(address & (backend->mem_align - 1)) &&
				    !(len & (unit - 1)));
}

static inline int qcow2_backend_iocb_flags(const struct qcow2_backend *backend,
					   bool write, bool fua)
{
	return (backend->direct ? IOCB_DIRECT : 0) |
	       (write ? IOCB_WRITE : 0) | (fua ? IOCB_DSYNC : 0);
}

static inline ssize_t qcow2_backend_call(struct kiocb *iocb,
					 struct iov_iter *iter, bool write)
{
	const struct file_operations *f_op = iocb->ki_filp->f_op;

	return write ? f_op->write_iter(iocb, iter) : f_op->read_iter(iocb, iter);
}

/*
 * As direct I/O: the flags also keep writeback throttling from counting the
 * bio, which was throttled further up.
 */
static inline blk_opf_t qcow2_backend_bio_flags(bool write, bool fua)
{
	return (write ? REQ_OP_WRITE | REQ_SYNC | REQ_IDLE : REQ_OP_READ) |
	       (fua ? REQ_FUA : 0);
}

/*
 * Do the whole of @xfer by way of a bounce buffer, waiting for it; done() is
 * not called. Writes at multiples of granule only. Sleeps.
 */
int qcow2_backend_bounce(struct qcow2_xfer *xfer);

/*
 * Write zeros without needing memory for them. Multiples of granule, inside
 * what qcow2_backend_check_end() allows.
 */
int qcow2_backend_write_zeros(struct qcow2_backend *backend, u64 hoff, u64 len);

#endif
