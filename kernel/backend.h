/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Bytes of one image file or block device: open, asynchronous transfers of
 * guest data, synchronous transfers of metadata, barriers, space.
 *
 * Layer 1. Knows nothing of qcow2. Offsets are host offsets in bytes.
 *
 * Context: .map may call qcow2_backend_can_inline() and
 * qcow2_backend_try_inline() only; everything else sleeps and is called by
 * workers and by ioctl entry points, which both run inside memalloc_noio_save().
 * done() of a transfer runs in any context, hard interrupt included.
 */
#ifndef QCOW2_BACKEND_H
#define QCOW2_BACKEND_H

#include <linux/bio.h>
#include <linux/fs.h>
#include <linux/mempool.h>
#include <linux/workqueue.h>
#include "dm-qcow2.h"

/*
 * Legend: I = constant from open to close.
 *
 * @node belongs to a block device given by path: its node, read-only, which
 * carries byte locks only. @same_file: the file system has locks of its own
 * (f_op->lock), so I/O must go through the file that holds the byte locks.
 */
struct qcow2_backend {
	struct file *file;	/* I: file image: all I/O; NULL for a block device */
	struct dm_dev *dev;	/* I: block-device image: I/O, deps, limits */
	struct block_device *bdev; /* I: of dev */
	struct file *node;	/* I: see above */
	struct dm_target *ti;	/* I: for dm_put_device */
	struct workqueue_struct *wq; /* finishes short transfers; the owner may change it */
	u32 granule;		/* I: unit of direct transfers, in place and length; 2^n */
	u32 mem_align;		/* I: alignment of memory of a direct transfer; 2^n */
	u32 bounce_size;	/* I: bytes of one buffer of bounce */
	bool writable;		/* I */
	bool direct;		/* I: O_DIRECT works; else the page cache is used */
	bool extends_with_zeros; /* I: bytes past the old end read as zero later (files) */
	bool same_file;		/* I: see above */
	bool nowait;		/* inline attempts make sense; cleared once they never work */
	bool no_fallocate;	/* remembered -EOPNOTSUPP; a lost race costs one more try */
	bool no_punch;
	u64 step;		/* last extension step; owner serialises extensions */
	mempool_t bounce;	/* for what cannot be done in place; one once reserved */
};

/*
 * One asynchronous transfer of guest data. The caller owns it and fills the
 * first part; it lives until done() was called. @bvec is not copied.
 */
struct qcow2_xfer {
	struct qcow2_backend *backend;
	const struct bio_vec *bvec;
	struct bvec_iter iter;		/* where in bvec, and how many bytes; bi_sector unused */
	u64 hoff;
	bool write;
	bool fua;			/* durable before done() */
	int ret;			/* 0 or negative errno, valid in done() */
	void (*done)(struct qcow2_xfer *xfer);
	/* backend_transfer.c only */
	bool nowait;			/* the inline attempt */
	bool counted;			/* keeps the file system from freezing (sb_start_write) */
	atomic_t refs;			/* submitter and completion */
	u32 start;			/* bytes before the present attempt */
	u32 transferred;		/* bytes so far */
	long result;			/* of the present attempt */
	union {
		struct kiocb iocb;
		struct bio bio;
	};
	struct work_struct work;
};

/*
 * Open @path (or "major:minor") with the caller's rights. Refuses what is
 * neither a regular file nor a block device, swap files, append-only files,
 * host-managed zoned devices in every role, and writing on zonefs (file
 * systems that cannot write randomly). Sets *@error to a sentence and logs
 * the values. Reads one granule of a file to see whether direct I/O works,
 * writes nothing. Returns 0 or negative errno of INTERFACE.md.
 */
int qcow2_backend_open(struct qcow2_backend *backend, struct dm_target *ti,
		       const char *path, bool writable, const char **error);
/*
 * Use @file (same inode, same or wider mode) for all I/O from now on; takes a
 * reference, drops the old one. Not while a transfer is under way.
 */
void qcow2_backend_use_file(struct qcow2_backend *backend, struct file *file);
/*
 * Keep @nr elements ready in @pool, which belongs to the caller, from now on.
 * mempool_resize() tells success without them too. Sleeps. 0, or -ENOMEM: the
 * pool is whole, to be filled by another call.
 */
int qcow2_backend_fill(mempool_t *pool, int nr);
/* From now on transfers need no free memory. Sleeps; any number of times. */
int qcow2_backend_reserve(struct qcow2_backend *backend);
void qcow2_backend_close(struct qcow2_backend *backend);

/* Current end in bytes: i_size, or the device's capacity. Any context. */
u64 qcow2_backend_size(const struct qcow2_backend *backend);

/* The real path (d_path) into @buf; returns a pointer into it or ERR_PTR. */
/* Name of the device it is under, as dm writes it: for the log. Any context. */
const char *qcow2_backend_device(const struct qcow2_backend *backend);
char *qcow2_backend_path(const struct qcow2_backend *backend, char *buf, int size);

/*
 * rules.md (d), the part that is cheap and concerns the context and the file:
 * may .map try this transfer inline? Never sleeps. @bio is the clone, for
 * its blkcg and its priority.
 */
bool qcow2_backend_can_inline(const struct qcow2_backend *backend,
			      struct bio *bio, bool write);
/*
 * Try @xfer without blocking. false: nothing is in flight, done() is not
 * called, a worker must submit it. true: done() was or will be called; then
 * ret may be -EAGAIN (late refusal or a short count): the owner gives its
 * lookup up and lets a worker look up and submit the whole again.
 * Only after qcow2_backend_can_inline() said yes in the same context.
 */
bool qcow2_backend_try_inline(struct qcow2_xfer *xfer, const struct bio *bio);
/*
 * Start @xfer; may block (frozen file system, allocation). done() is called
 * exactly once, possibly before this returns; ret is never -EAGAIN, and
 * -ENOSPC stands for an exhausted quota too. Short transfers are continued;
 * reads past the end of a file give zeros, past the end of a block device
 * they are -EIO, writes there -ENOSPC. Memory that the file cannot use
 * directly and odd ends of reads go through a bounce buffer; then this waits
 * for the I/O. A write at an odd offset or of an odd length is -EINVAL.
 */
void qcow2_backend_submit(struct qcow2_xfer *xfer);

/*
 * Memory of several pages that may be sent to a file, for free_pages(). It is
 * one compound page, because FUSE and network file systems take references to
 * single pages of what they send, and the pages of any other allocation have
 * no count of their own.
 */
static inline void *qcow2_backend_buffer(size_t bytes, gfp_t gfp)
{
	return (void *)__get_free_pages(gfp | __GFP_COMP, get_order(bytes));
}

/*
 * Synchronous metadata I/O with a kernel buffer: whole pages, kmalloc, vmalloc,
 * or qcow2_backend_buffer(). Reads: any alignment, zeros past the end of a file. Writes:
 * multiples of granule, else -EINVAL. Errors past the end of a block device as
 * for qcow2_backend_submit().
 */
int qcow2_backend_read(struct qcow2_backend *backend, u64 hoff, void *buf, size_t len);
/*
 * The same of a part of a table. In a cluster past the end, where the file was cut, it is -EUCLEAN:
 * zeros would read as a table of holes, or of clusters that are free.
 */
int qcow2_backend_read_table(struct qcow2_backend *backend, u64 hoff, void *buf, size_t len,
			     u32 cluster_size);
int qcow2_backend_write(struct qcow2_backend *backend, u64 hoff, const void *buf, size_t len);

/* All completed writes are durable when this returns 0. Never retried here. */
int qcow2_backend_barrier(struct qcow2_backend *backend);

/*
 * Make the file at least @end bytes long, in growing steps (rules.md 31): does
 * nothing while at least half a step lies beyond @end, so call it freely.
 * -ENOSPC on a block device that is too small, and on a full file system.
 */
int qcow2_backend_extend(struct qcow2_backend *backend, u64 end);
/* Cut the file to @end bytes; best effort, nothing on a block device. */
void qcow2_backend_trim(struct qcow2_backend *backend, u64 end);
/* Give the range back; best effort; contents undefined afterwards. */
void qcow2_backend_punch(struct qcow2_backend *backend, u64 hoff, u64 len);
/*
 * Make the range, multiples of granule, read as zeros by the cheapest way that
 * is sure. What lies past the end of a file reads as zeros anyway.
 */
int qcow2_backend_zero(struct qcow2_backend *backend, u64 hoff, u64 len);
/*
 * Make the range read as zeros and give its space back, by one request or not
 * at all: then it reads as before or as zeros, part by part. -EOPNOTSUPP where
 * zeros are not sure.
 */
int qcow2_backend_deallocate(struct qcow2_backend *backend, u64 hoff, u64 len);
/* Write back and drop the page cache of the image (rules.md 15). */
int qcow2_backend_invalidate(struct qcow2_backend *backend);

#endif
