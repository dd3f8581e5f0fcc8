/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The differences between the kernels this module builds for. Each
 * QCOW2_HAVE_* is the result of a look into the headers (see Kbuild), never
 * of a version number: distributions carry features backwards.
 */
#ifndef QCOW2_COMPAT_H
#define QCOW2_COMPAT_H

#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/string.h>
#ifdef QCOW2_HAVE_FILE_LOCK_CORE
#include <linux/filelock.h>
#endif

/* How dm_get_device() is told what is meant to be done with the device. */
#ifdef QCOW2_HAVE_BLK_OPEN
#define QCOW2_BLK_WRITE	BLK_OPEN_WRITE
#else
#define QCOW2_BLK_WRITE	FMODE_WRITE
#endif

/* Make @fl a request for a lock of the open file description @file, which does not wait. */
static inline void qcow2_file_lock_set_ofd(struct file_lock *fl, struct file *file,
					   unsigned char type)
{
#ifdef QCOW2_HAVE_FILE_LOCK_CORE
	struct file_lock_core *c = &fl->c;

	c->flc_file = file;
	c->flc_owner = file;
	c->flc_pid = current->tgid;
	c->flc_flags = FL_POSIX | FL_OFDLCK;
	c->flc_type = type;
#else
	fl->fl_file = file;
	fl->fl_owner = file;
	fl->fl_pid = current->tgid;
	fl->fl_flags = FL_POSIX | FL_OFDLCK;
	fl->fl_type = type;
#endif
}

static inline unsigned char qcow2_file_lock_type(const struct file_lock *fl)
{
#ifdef QCOW2_HAVE_FILE_LOCK_CORE
	return fl->c.flc_type;
#else
	return fl->fl_type;
#endif
}

/* The discard limit of the device; the block layer derives the rest from it. */
static inline void qcow2_limits_set_discard(struct queue_limits *limits, unsigned int sectors)
{
	limits->max_hw_discard_sectors = sectors;
#ifndef QCOW2_HAVE_BLK_FEATURES
	limits->max_discard_sectors = sectors;
#endif
#ifdef QCOW2_HAVE_HW_WZEROES_UNMAP
	limits->max_hw_wzeroes_unmap_sectors = limits->max_write_zeroes_sectors;
#endif
}

/* Completions are not polled for. */
static inline void qcow2_limits_no_poll(struct queue_limits *limits)
{
#ifdef QCOW2_HAVE_BLK_FEATURES
	limits->features &= ~BLK_FEAT_POLL;
#endif
}

/* The same where dm core asks the devices below only. @q has no I/O. */
static inline void qcow2_queue_no_poll(struct request_queue *q)
{
#ifndef QCOW2_HAVE_BLK_FEATURES
	blk_queue_flag_clear(QUEUE_FLAG_POLL, q);
#endif
}

/* Let @hints change the limits of @q, which carries no I/O now. */
static inline void qcow2_queue_set_limits(struct request_queue *q, void *data,
					  void (*hints)(void *data, struct queue_limits *limits))
{
	struct queue_limits limits;

#ifdef QCOW2_HAVE_BLK_FEATURES
	limits = queue_limits_start_update(q);
	hints(data, &limits);
	if (queue_limits_commit_update(q, &limits))
		pr_warn_ratelimited("device-mapper: qcow2: queue limits were not taken\n");
#else
	limits = q->limits;
	hints(data, &limits);
	q->limits = limits;
#endif
}

/* Bytes of the current bio_vec that the iterator has passed. */
static inline unsigned int qcow2_bvec_skip(const struct bvec_iter *iter)
{
#ifdef QCOW2_HAVE_BVEC_ITER_OFFSET
	return iter->bi_offset;
#else
	return iter->bi_bvec_done;
#endif
}

/*
 * Zones that must be written in order. Where the kernel still tells
 * host-aware devices apart, they are as good as conventional ones.
 */
static inline bool qcow2_bdev_is_host_managed(struct block_device *bdev)
{
#ifdef QCOW2_HAVE_BDEV_ZONED_MODEL
	return bdev_zoned_model(bdev) == BLK_ZONED_HM;
#else
	return bdev_is_zoned(bdev);
#endif
}

/*
 * Alignment of direct reads, where the file system reports it apart from that
 * of writes; else 0. Such a file system copies a write of less than its own
 * unit through the page cache instead of refusing it.
 */
static inline u32 qcow2_kstat_read_align(const struct kstat *stat)
{
#ifdef QCOW2_HAVE_DIO_READ_ALIGN
	return stat->dio_read_offset_align;
#else
	return 0;
#endif
}

/* Kernels differ in who owns the memory of a shrinker. */
struct qcow2_shrinker {
#ifdef QCOW2_HAVE_SHRINKER_ALLOC
	struct shrinker *shrinker;
#else
	struct shrinker shrinker;
#endif
};

typedef unsigned long qcow2_shrink_fn(struct shrinker *shrinker, struct shrink_control *control);

static inline int qcow2_shrinker_register(struct qcow2_shrinker *s, const char *name,
					  qcow2_shrink_fn *count, qcow2_shrink_fn *scan)
{
#ifdef QCOW2_HAVE_SHRINKER_ALLOC
	s->shrinker = shrinker_alloc(0, "%s", name);
	if (!s->shrinker)
		return -ENOMEM;
	s->shrinker->count_objects = count;
	s->shrinker->scan_objects = scan;
	shrinker_register(s->shrinker);
	return 0;
#else
	s->shrinker.count_objects = count;
	s->shrinker.scan_objects = scan;
	s->shrinker.seeks = DEFAULT_SEEKS;
	return register_shrinker(&s->shrinker, "%s", name);
#endif
}

static inline void qcow2_shrinker_unregister(struct qcow2_shrinker *s)
{
#ifdef QCOW2_HAVE_SHRINKER_ALLOC
	shrinker_free(s->shrinker);
#else
	unregister_shrinker(&s->shrinker);
#endif
}

/*
 * File systems on which .map itself may try a direct transfer with
 * IOCB_NOWAIT. The list grows only with a test: others block, allocate or
 * read metadata in spite of the flag.
 */
static inline bool qcow2_sb_can_inline(const struct super_block *sb)
{
	return !strcmp(sb->s_type->name, "ext4") ||
	       !strcmp(sb->s_type->name, "xfs");
}

#endif
