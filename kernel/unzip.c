// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Deflate and zstd clusters, the jobs that inflate them, and the cache.
 *
 * What QEMU takes is taken: a deflate stream with distances of up to 32 KiB,
 * which may have more than a cluster in it, and zstd in several frames, which
 * together are a cluster, with frames to skip between them. Behind either may
 * be anything, because the mapping counts sectors.
 */
#include <linux/cpumask.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/zlib.h>
#include <linux/zstd.h>
#include "format.h"
#include "trace.h"
#include "unzip.h"

#define MAX_JOBS	16
#define MIN_JOBS	2
#define JOB_BYTES	SZ_32M	/* of all jobs, about */
#define CACHE_BYTES	SZ_2M
#define MIN_CACHED	2
#define MAX_CACHED	64
#define INFLATE_STEP	SZ_64K
/* For what nobody depends on. */
#define GFP_EXTRA	(GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN)

/* ------------------------------------------------------------------------
 * The two formats
 */

static bool inflate_deflate(const struct qcow2_unzip_job *job, const u8 *in)
{
	u32 size = job->zipped.size, done = 0;
	struct z_stream_s stream = {
		.workspace = job->deflate,
		.next_in = in,
		.avail_in = job->zipped.len,
		.next_out = job->out->data,
	};
	int ret;

	if (zlib_inflateInit2(&stream, -MAX_WBITS) != Z_OK)
		return false;
	do {
		stream.avail_out = min_t(u32, size - done, INFLATE_STEP);
		ret = zlib_inflate(&stream, Z_SYNC_FLUSH);
		done = stream.next_out - job->out->data;
		cond_resched();
	} while (ret == Z_OK && done < size);
	zlib_inflateEnd(&stream);
	return done == size && (ret == Z_OK || ret == Z_STREAM_END || ret == Z_BUF_ERROR);
}

/*
 * Each frame goes straight into the cluster, which is its window. QEMU's decoder does the same
 * with a frame that tells the length of its content, and takes any window then; for all others it
 * wants one of its own, of 128 MiB at most (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
 */
static bool has_good_window(const u8 *in, u32 len)
{
	zstd_frame_header header;

	return !zstd_get_frame_header(&header, in, len) &&
	       (header.frameContentSize != ZSTD_CONTENTSIZE_UNKNOWN ||
		header.windowSize <= SZ_128M);
}

/* Frame by frame. */
static bool inflate_zstd(const struct qcow2_unzip_job *job, const u8 *in)
{
	u32 size = job->zipped.size, left = job->zipped.len, done = 0;
	zstd_dctx *dctx;
	size_t n, frame;

	dctx = zstd_init_dctx(job->zstd, zstd_dctx_workspace_bound());
	if (!dctx)
		return false;
	while (done < size) {
		frame = zstd_find_frame_compressed_size(in, left);
		if (zstd_is_error(frame) || !frame || frame > left || !has_good_window(in, frame))
			return false;
		n = zstd_decompress_dctx(dctx, job->out->data + done, size - done, in, frame);
		if (zstd_is_error(n))
			return false;
		done += n;
		in += frame;
		left -= frame;
		cond_resched();
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Memory
 */

static void inflated_free(struct qcow2_inflated *inflated)
{
	if (!inflated)
		return;
	kvfree(inflated->data);
	kfree(inflated);
}

static struct qcow2_inflated *inflated_alloc(const struct qcow2_unzip *unzip, gfp_t gfp)
{
	struct qcow2_inflated *inflated = kzalloc(sizeof(*inflated), gfp);

	if (!inflated)
		return NULL;
	INIT_LIST_HEAD(&inflated->list);
	inflated->data = kvmalloc(unzip->size, gfp);
	if (!inflated->data) {
		kfree(inflated);
		return NULL;
	}
	return inflated;
}

static void job_free(struct qcow2_unzip_job *job)
{
	inflated_free(job->out);
	kvfree(job->zstd);
	kvfree(job->deflate);
	kvfree(job->in);
	kfree(job);
}

static struct qcow2_unzip_job *job_alloc(struct qcow2_unzip *unzip, gfp_t gfp)
{
	struct qcow2_unzip_job *job = kzalloc(sizeof(*job), gfp);

	if (!job)
		return NULL;
	INIT_LIST_HEAD(&job->list);
	job->unzip = unzip;
	job->in = kvmalloc(unzip->in_bytes, gfp);
	job->deflate = kvmalloc(zlib_inflate_workspacesize(), gfp);
	if (unzip->zstd)
		job->zstd = kvmalloc(zstd_dctx_workspace_bound(), gfp);
	job->out = inflated_alloc(unzip, gfp);
	if (job->in && job->deflate && (job->zstd || !unzip->zstd) && job->out)
		return job;
	job_free(job);
	return NULL;
}

void qcow2_unzip_init(struct qcow2_unzip *unzip, u32 size, u32 granule, bool zstd)
{
	unzip->size = size;
	/* An entry can say twice the cluster, see compressed_decode(). */
	unzip->in_bytes = 2 * (size + granule);
	unzip->zstd = zstd;
	unzip->max_cached = clamp_t(u32, CACHE_BYTES / size, MIN_CACHED, MAX_CACHED);
	spin_lock_init(&unzip->lock);
	INIT_LIST_HEAD(&unzip->idle);
	INIT_LIST_HEAD(&unzip->busy);
	INIT_LIST_HEAD(&unzip->cached);
	init_waitqueue_head(&unzip->room);
	init_waitqueue_head(&unzip->done);
	unzip->max_jobs = clamp_t(u32, min(2 * num_online_cpus(), JOB_BYTES / (3 * size)),
				  MIN_JOBS, MAX_JOBS);
}

int qcow2_unzip_reserve(struct qcow2_unzip *unzip)
{
	struct qcow2_unzip_job *job;

	if (!unzip->max_jobs || unzip->nr_jobs)
		return 0;
	job = job_alloc(unzip, GFP_NOIO);
	if (!job)
		return -ENOMEM;
	list_add(&job->list, &unzip->idle);
	unzip->nr_jobs = 1;
	return 0;
}

/* Give back all but @keep jobs, and the cache. */
static void give_back(struct qcow2_unzip *unzip, unsigned int keep)
{
	struct qcow2_inflated *inflated, *next;
	struct qcow2_unzip_job *job;

	WARN_ON_ONCE(!list_empty(&unzip->busy));
	list_for_each_entry_safe(inflated, next, &unzip->cached, list) {
		WARN_ON_ONCE(inflated->users);
		inflated_free(inflated);
	}
	INIT_LIST_HEAD(&unzip->cached);
	unzip->nr_cached = 0;
	for (; unzip->nr_jobs > keep; unzip->nr_jobs--) {
		job = list_first_entry(&unzip->idle, struct qcow2_unzip_job, list);
		list_del(&job->list);
		job_free(job);
	}
}

void qcow2_unzip_reset(struct qcow2_unzip *unzip)
{
	if (unzip->max_jobs)
		give_back(unzip, 1);
}

void qcow2_unzip_exit(struct qcow2_unzip *unzip)
{
	if (unzip->max_jobs)
		give_back(unzip, 0);
	unzip->max_jobs = 0;
}

/* ------------------------------------------------------------------------
 * The cache
 */

static bool is_same(const struct qcow2_zipped *a, const struct qcow2_zipped *b)
{
	return a->image == b->image && a->hoff == b->hoff && a->len == b->len;
}

static struct qcow2_inflated *__find(struct qcow2_unzip *unzip, const struct qcow2_zipped *zipped)
{
	struct qcow2_inflated *inflated;

	lockdep_assert_held(&unzip->lock);
	list_for_each_entry(inflated, &unzip->cached, list) {
		if (is_same(&inflated->zipped, zipped))
			return inflated;
	}
	return NULL;
}

struct qcow2_inflated *qcow2_unzip_find(struct qcow2_unzip *unzip,
					const struct qcow2_zipped *zipped)
{
	struct qcow2_inflated *inflated;

	spin_lock(&unzip->lock);
	inflated = __find(unzip, zipped);
	if (inflated) {
		inflated->users++;
		list_move(&inflated->list, &unzip->cached);
	}
	spin_unlock(&unzip->lock);
	return inflated;
}

static void __uncache(struct qcow2_unzip *unzip, struct qcow2_inflated *inflated)
{
	lockdep_assert_held(&unzip->lock);
	list_del_init(&inflated->list);
	WRITE_ONCE(unzip->nr_cached, unzip->nr_cached - 1);
}

/* The one used least recently that nobody holds. */
static struct qcow2_inflated *__evict(struct qcow2_unzip *unzip)
{
	struct qcow2_inflated *inflated;

	lockdep_assert_held(&unzip->lock);
	list_for_each_entry_reverse(inflated, &unzip->cached, list) {
		if (!inflated->users) {
			__uncache(unzip, inflated);
			return inflated;
		}
	}
	return NULL;
}

void qcow2_unzip_forget(struct qcow2_unzip *unzip, const void *image, u64 hoff)
{
	struct qcow2_inflated *inflated, *next, *unused = NULL;

	spin_lock(&unzip->lock);
	list_for_each_entry_safe(inflated, next, &unzip->cached, list) {
		if (inflated->zipped.image != image || inflated->zipped.hoff != hoff)
			continue;
		__uncache(unzip, inflated);
		if (!inflated->users)
			unused = inflated;
		break;
	}
	spin_unlock(&unzip->lock);
	inflated_free(unused);
}

/* ------------------------------------------------------------------------
 * Jobs
 */

/* Whoever waits is woken by the caller, outside the lock. */
static void __job_ended(struct qcow2_unzip_job *job)
{
	lockdep_assert_held(&job->unzip->lock);
	list_move(&job->list, &job->unzip->idle);
}

static void wake(struct qcow2_unzip *unzip)
{
	wake_up(&unzip->room);
	wake_up_all(&unzip->done);
}

void qcow2_unzip_put(struct qcow2_unzip *unzip, struct qcow2_inflated *inflated)
{
	struct qcow2_unzip_job *job;
	bool unused;

	spin_lock(&unzip->lock);
	job = inflated->job;
	inflated->users--;
	unused = !inflated->users && !job && list_empty(&inflated->list);
	if (job) {
		inflated->job = NULL;
		__job_ended(job);
	}
	spin_unlock(&unzip->lock);
	if (job)
		wake(unzip);
	if (unused)
		inflated_free(inflated);
}

static bool __is_busy(struct qcow2_unzip *unzip, const struct qcow2_zipped *zipped)
{
	struct qcow2_unzip_job *job;

	lockdep_assert_held(&unzip->lock);
	list_for_each_entry(job, &unzip->busy, list) {
		if (is_same(&job->zipped, zipped))
			return true;
	}
	return false;
}

static bool is_busy(struct qcow2_unzip *unzip, const struct qcow2_zipped *zipped)
{
	bool busy;

	spin_lock(&unzip->lock);
	busy = __is_busy(unzip, zipped);
	spin_unlock(&unzip->lock);
	return busy;
}

/* Without memory for one more job those that exist have to do. */
static void add_job(struct qcow2_unzip *unzip)
{
	struct qcow2_unzip_job *job = job_alloc(unzip, GFP_EXTRA);

	spin_lock(&unzip->lock);
	if (job)
		list_add(&job->list, &unzip->idle);
	else
		unzip->nr_jobs--;
	spin_unlock(&unzip->lock);
	if (job)
		wake_up(&unzip->room);
	else
		wait_event_idle_exclusive(unzip->room, !list_empty_careful(&unzip->idle));
}

int qcow2_unzip_begin(struct qcow2_unzip *unzip, const struct qcow2_zipped *zipped,
		      struct qcow2_unzip_job **job)
{
	bool more = false, taken;

	for (;;) {
		*job = NULL;
		spin_lock(&unzip->lock);
		/* Who was at it may have ended since the caller looked. */
		taken = __is_busy(unzip, zipped) || __find(unzip, zipped);
		if (!taken)
			*job = list_first_entry_or_null(&unzip->idle, struct qcow2_unzip_job, list);
		if (*job) {
			(*job)->zipped = *zipped;
			list_move(&(*job)->list, &unzip->busy);
		} else if (!taken) {
			more = unzip->nr_jobs < unzip->max_jobs;
			unzip->nr_jobs += more;
		}
		spin_unlock(&unzip->lock);
		if (*job)
			return 0;
		if (taken) {
			wake_up(&unzip->room);	/* the idle one is for somebody else */
			wait_event(unzip->done, !is_busy(unzip, zipped));
			return -EAGAIN;
		}
		if (more)
			add_job(unzip);
		else
			wait_event_idle_exclusive(unzip->room,
						  !list_empty_careful(&unzip->idle));
	}
}

void qcow2_unzip_cancel(struct qcow2_unzip_job *job)
{
	struct qcow2_unzip *unzip = job->unzip;

	spin_lock(&unzip->lock);
	__job_ended(job);
	spin_unlock(&unzip->lock);
	wake(unzip);
}

/*
 * Hand out what the job made. It goes to the cache if the job can have other
 * memory for the next one: new, or that of what was used least recently.
 */
static struct qcow2_inflated *publish(struct qcow2_unzip_job *job)
{
	struct qcow2_inflated *out = job->out, *fresh = NULL, *old = NULL;
	struct qcow2_unzip *unzip = job->unzip;

	if (READ_ONCE(unzip->nr_cached) < unzip->max_cached)
		fresh = inflated_alloc(unzip, GFP_EXTRA);
	out->zipped = job->zipped;
	out->users = 1;
	spin_lock(&unzip->lock);
	if (!fresh || unzip->nr_cached >= unzip->max_cached)
		old = __evict(unzip);
	if (!fresh)
		swap(fresh, old);
	if (fresh) {
		job->out = fresh;
		list_add(&out->list, &unzip->cached);
		WRITE_ONCE(unzip->nr_cached, unzip->nr_cached + 1);
		__job_ended(job);
	} else {
		out->job = job;
	}
	spin_unlock(&unzip->lock);
	wake(unzip);
	inflated_free(old);
	return out;
}

struct qcow2_inflated *qcow2_unzip_run(struct qcow2_unzip_job *job, u32 skip)
{
	const struct qcow2_zipped *zipped = &job->zipped;
	bool good;

	good = zipped->type == QCOW2_COMPRESSION_ZSTD ? inflate_zstd(job, job->in + skip) :
							inflate_deflate(job, job->in + skip);
	trace_qcow2_inflate(zipped->hoff, zipped->len, zipped->size, good);
	if (good)
		return publish(job);
	qcow2_unzip_cancel(job);
	return NULL;
}
