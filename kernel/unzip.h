/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Decompression of clusters, with bounded memory: a few jobs, each with all
 * that one decompression needs, and a small cache of what came out.
 *
 * One job exists as soon as the device is used, so that reading never depends on
 * free memory; more are made, up to two for each processor and 32 MiB, when
 * there is memory for them and somebody to use them. They belong to one device: with
 * images on images nobody waits for a job that waits for him.
 *
 * What a key stands for never changes while an image is active: nobody here
 * writes compressed data, and the host clusters that hold it are not used
 * again before its mapping is gone and every request that saw it has ended.
 * So whoever looks a mapping up inside the epoch and then finds its key in
 * the cache has the right bytes, whenever they were put there. Forgetting the
 * key of a dropped mapping saves memory; forgetting all of them when the
 * device is suspended is what keeps edits from being missed.
 *
 * Layer 1. Does no I/O: whoever uses a job fills its input.
 */
#ifndef QCOW2_UNZIP_H
#define QCOW2_UNZIP_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

/* One compressed cluster; also the key of the cache. */
struct qcow2_zipped {
	const void *image;	/* whose hoff it is */
	u64 hoff;
	u32 len;		/* bytes at hoff that may belong to it */
	u32 size;		/* bytes of the cluster */
	u8 type;		/* enum qcow2_compression */
};

struct qcow2_unzip;

/* A decompressed cluster. @data is constant while it is held. */
struct qcow2_inflated {
	u8 *data;
	/* unzip.c only */
	struct list_head list;		/* lock: in the cache; empty: not in it */
	unsigned int users;		/* lock */
	struct qcow2_zipped zipped;
	struct qcow2_unzip_job *job;	/* not cached: goes back with its job */
};

struct qcow2_unzip_job {
	u8 *in;				/* qcow2_unzip.in_bytes, for the user to fill */
	/* unzip.c only */
	struct qcow2_unzip *unzip;
	struct list_head list;		/* lock: idle or busy */
	struct qcow2_zipped zipped;	/* of a busy one */
	struct qcow2_inflated *out;
	void *deflate;
	void *zstd;
};

struct qcow2_unzip {
	u32 size;			/* I: of the largest cluster */
	u32 in_bytes;			/* I */
	bool zstd;			/* I: there are images of this type; deflate is cheap */
	unsigned int max_jobs;		/* I; 0: nothing is here */
	unsigned int max_cached;	/* I */
	spinlock_t lock;
	struct list_head idle;		/* lock */
	struct list_head busy;		/* lock */
	struct list_head cached;	/* lock: last used first */
	unsigned int nr_jobs;		/* lock */
	unsigned int nr_cached;		/* lock; a guess without it */
	wait_queue_head_t room;		/* a job became idle */
	wait_queue_head_t done;		/* a job ended, for those who want what it made */
};

/*
 * For clusters of up to @size bytes, whose compressed bytes come with up to
 * @granule further bytes before and behind them. Constructor.
 */
void qcow2_unzip_init(struct qcow2_unzip *unzip, u32 size, u32 granule, bool zstd);
/* Make the first job, before anybody wants one. -ENOMEM; nothing where it is made already. */
int qcow2_unzip_reserve(struct qcow2_unzip *unzip);
/* Destructor; also of zeroed memory. Nobody holds anything. */
void qcow2_unzip_exit(struct qcow2_unzip *unzip);
/* postsuspend: forget everything, keep one job if there is one. Nobody holds anything. */
void qcow2_unzip_reset(struct qcow2_unzip *unzip);

/* Is it in the cache? Holds it then; else NULL. Never sleeps; process context. */
struct qcow2_inflated *qcow2_unzip_find(struct qcow2_unzip *unzip,
					const struct qcow2_zipped *zipped);
/* Give up what find() or run() gave. Process context. */
void qcow2_unzip_put(struct qcow2_unzip *unzip, struct qcow2_inflated *inflated);
/* Its mapping is gone. Process context. */
void qcow2_unzip_forget(struct qcow2_unzip *unzip, const void *image, u64 hoff);

/*
 * A job for @zipped, which run() or cancel() ends. -EAGAIN: somebody else was
 * at it and has ended, or it is in the cache by now; look again. Sleeps, outside the epoch.
 */
int qcow2_unzip_begin(struct qcow2_unzip *unzip, const struct qcow2_zipped *zipped,
		      struct qcow2_unzip_job **job);
/* It will not be filled. */
void qcow2_unzip_cancel(struct qcow2_unzip_job *job);
/*
 * Inflate what is at job->in + @skip. What comes out is cached if there is
 * memory, and held in any case; NULL if the bytes do not make a cluster. Ends
 * the job. Sleeps, allocates nothing that it depends on.
 */
struct qcow2_inflated *qcow2_unzip_run(struct qcow2_unzip_job *job, u32 skip);

#endif
