// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * How a commit writes: frozen slices in large runs, several under way, and
 * fields of the header. In which order is decided in commit.c.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include "commit.h"

#define RUN_SLICES	32	/* slices in one write */
#define RUNS		4	/* writes under way */

struct write_run {
	struct qcow2_xfer xfer;
	struct bio_vec bvec[RUN_SLICES];
	unsigned int nr;
	u32 bytes;
	struct completion done;
};

struct qcow2_commit_writer {
	struct mutex header_lock;	/* sector, and header writes as a whole */
	void *sector;			/* the first one of the image, as it is on disk */
	struct write_run runs[RUNS];
};

int qcow2_commit_load_header(struct qcow2_commit *commit)
{
	struct qcow2_backend *backend = commit->meta->backend;
	struct qcow2_commit_writer *writer = commit->writer;
	int ret;

	mutex_lock(&writer->header_lock);
	ret = qcow2_backend_read(backend, 0, writer->sector, backend->granule);
	mutex_unlock(&writer->header_lock);
	return ret;
}

int qcow2_commit_header(struct qcow2_commit *commit, u32 offset, const void *bytes, u32 len)
{
	struct qcow2_backend *backend = commit->meta->backend;
	struct qcow2_commit_writer *writer = commit->writer;
	int ret;

	mutex_lock(&writer->header_lock);
	memcpy(writer->sector + offset, bytes, len);
	ret = qcow2_backend_write(backend, 0, writer->sector, backend->granule);
	mutex_unlock(&writer->header_lock);
	return ret;
}

/* ------------------------------------------------------------------------
 * Runs
 */

static void run_done(struct qcow2_xfer *xfer)
{
	complete(&container_of(xfer, struct write_run, xfer)->done);
}

/* Wait for @run, remember its error: one that is not ENOSPC wins. */
static void run_wait(struct qcow2_commit *commit, struct write_run *run, int *ret)
{
	wait_for_completion(&run->done);
	if (run->xfer.ret && (!*ret || *ret == -ENOSPC)) {
		*ret = run->xfer.ret;
		commit->failed_hoff = run->xfer.hoff;
	}
	run->xfer.ret = 0;
	run->nr = 0;
	run->bytes = 0;
}

static void run_submit(struct qcow2_commit *commit, struct write_run *run)
{
	struct qcow2_xfer *xfer = &run->xfer;

	reinit_completion(&run->done);
	xfer->backend = commit->meta->backend;
	xfer->bvec = run->bvec;
	xfer->iter = (struct bvec_iter){ .bi_size = run->bytes };
	xfer->write = true;
	xfer->fua = false;
	xfer->ret = 0;
	xfer->done = run_done;
	qcow2_backend_submit(xfer);
}

static bool run_takes(const struct write_run *run, const struct qcow2_slice *slice)
{
	return !run->nr || (run->nr < RUN_SLICES &&
			    run->xfer.hoff + run->bytes == slice->hoff);
}

static void run_add(struct write_run *run, const struct qcow2_slice *slice, u32 size)
{
	if (!run->nr)
		run->xfer.hoff = slice->hoff;
	run->bvec[run->nr].bv_page = virt_to_page(slice->frozen);
	run->bvec[run->nr].bv_offset = offset_in_page(slice->frozen);
	run->bvec[run->nr].bv_len = size;
	run->nr++;
	run->bytes += size;
}

/* meta->writing belongs to the running commit, and so does what frozen points to: no lock. */
int qcow2_commit_write_slices(struct qcow2_commit *commit, bool mapping)
{
	u32 size = qcow2_slice_size(commit->meta->geo);
	struct qcow2_commit_writer *writer = commit->writer;
	struct qcow2_slice *slice;
	unsigned int at = 0, i;
	int ret = 0;

	list_for_each_entry(slice, &commit->meta->writing, writing) {
		struct write_run *run = &writer->runs[at];

		if (qcow2_slice_is_mapping(slice) != mapping)
			continue;
		if (!run_takes(run, slice)) {
			run_submit(commit, run);
			at = (at + 1) % RUNS;
			run = &writer->runs[at];
			run_wait(commit, run, &ret);
		}
		run_add(run, slice, size);
	}
	if (writer->runs[at].nr)
		run_submit(commit, &writer->runs[at]);
	for (i = 0; i < RUNS; i++) {
		run_wait(commit, &writer->runs[i], &ret);
		complete(&writer->runs[i].done);
	}
	return ret;
}

int qcow2_commit_writer_init(struct qcow2_commit *commit)
{
	struct qcow2_commit_writer *writer;
	int i;

	writer = kzalloc(sizeof(*writer), GFP_KERNEL);
	if (!writer)
		return -ENOMEM;
	writer->sector = kmalloc(commit->meta->backend->granule, GFP_KERNEL);
	if (!writer->sector) {
		kfree(writer);
		return -ENOMEM;
	}
	mutex_init(&writer->header_lock);
	for (i = 0; i < RUNS; i++) {
		init_completion(&writer->runs[i].done);
		complete(&writer->runs[i].done);
	}
	commit->writer = writer;
	return 0;
}

void qcow2_commit_writer_exit(struct qcow2_commit *commit)
{
	kfree(commit->writer->sector);
	kfree(commit->writer);
	commit->writer = NULL;
}
