// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The space under an image: growing, trimming, giving back, zeroing; and the
 * barrier, which makes all of it and all data durable.
 *
 * A file grows in steps that double, so that a steady stream of new clusters
 * meets few extensions: each of them stops direct I/O on most file systems.
 */
#include <linux/types.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <linux/sizes.h>
#include <linux/statfs.h>
#include "backend_io.h"

#define STEP_MIN	SZ_16M
#define STEP_MAX	SZ_1G
#define ZERO_BY_WRITING	SZ_256K		/* up to here cheaper than fallocate */

int qcow2_backend_barrier(struct qcow2_backend *backend)
{
	if (backend->bdev)
		return blkdev_issue_flush(backend->bdev);
	return vfs_fsync_range(backend->file, 0, LLONG_MAX, 1);
}

static bool is_tmpfs(const struct qcow2_backend *backend)
{
	return file_inode(backend->file)->i_sb->s_magic == TMPFS_MAGIC;
}

static int grow_file(struct qcow2_backend *backend, u64 size, u64 end)
{
	int ret = -EOPNOTSUPP;

	if (!READ_ONCE(backend->no_fallocate)) {
		ret = vfs_fallocate(backend->file, 0, size, end - size);
		if (ret == -EOPNOTSUPP)
			WRITE_ONCE(backend->no_fallocate, true);
	}
	if (ret == -EOPNOTSUPP)
		ret = vfs_truncate(&backend->file->f_path, end);
	return ret;
}

/* A share of what is free, so that others find space too. */
static u64 free_share(const struct qcow2_backend *backend)
{
	struct kstatfs stat;

	if (vfs_statfs(&backend->file->f_path, &stat) || !stat.f_blocks)
		return STEP_MAX;
	return round_down((u64)stat.f_bavail * stat.f_bsize / 8, SZ_64K);
}

static u64 next_step(const struct qcow2_backend *backend)
{
	u64 max = is_tmpfs(backend) ? STEP_MIN : STEP_MAX;
	u64 step = clamp_t(u64, 2 * backend->step, STEP_MIN, max);

	return min(step, free_share(backend));
}

static int extend_file(struct qcow2_backend *backend, u64 end)
{
	u64 limit = file_inode(backend->file)->i_sb->s_maxbytes;
	u64 size = qcow2_backend_size(backend);
	u64 step, target;
	int ret = 0;

	if (end > limit)
		return -EFBIG;
	if (size >= end &&
	    size - end >= max_t(u64, backend->step, STEP_MIN) / 2)
		return 0;

	step = next_step(backend);
	target = max(size, end);
	if (step)
		target = min(round_up(target + step, SZ_64K), limit);
	if (target > size)
		ret = grow_file(backend, size, target);
	backend->step = ret ? STEP_MIN : step;
	if (!ret)
		return 0;
	/* What failed may have grown the file by a part. */
	size = qcow2_backend_size(backend);
	if (size >= end)
		return 0;
	/*
	 * A part that is left stays until the next suspend trims it: a guest's write behind the
	 * old end may have been answered meanwhile.
	 */
	return qcow2_backend_error(grow_file(backend, size, end));
}

int qcow2_backend_extend(struct qcow2_backend *backend, u64 end)
{
	if (backend->bdev)
		return end > qcow2_backend_size(backend) ? -ENOSPC : 0;
	return extend_file(backend, end);
}

void qcow2_backend_trim(struct qcow2_backend *backend, u64 end)
{
	if (backend->bdev || end >= qcow2_backend_size(backend))
		return;
	vfs_truncate(&backend->file->f_path, end);
	backend->step = 0;
}

void qcow2_backend_punch(struct qcow2_backend *backend, u64 hoff, u64 len)
{
	int ret;

	if (READ_ONCE(backend->no_punch))
		return;
	if (backend->bdev)
		ret = blkdev_issue_discard(backend->bdev, hoff >> SECTOR_SHIFT,
					   len >> SECTOR_SHIFT, GFP_NOIO);
	else
		ret = vfs_fallocate(backend->file, FALLOC_FL_PUNCH_HOLE |
				    FALLOC_FL_KEEP_SIZE, hoff, len);
	if (ret == -EOPNOTSUPP)
		WRITE_ONCE(backend->no_punch, true);
}

int qcow2_backend_deallocate(struct qcow2_backend *backend, u64 hoff, u64 len)
{
	int ret;

	if (READ_ONCE(backend->no_punch) || ((hoff | len) & (backend->granule - 1)))
		return -EOPNOTSUPP;
	if (backend->bdev)
		ret = blkdev_issue_zeroout(backend->bdev, hoff >> SECTOR_SHIFT,
					   len >> SECTOR_SHIFT, GFP_NOIO,
					   BLKDEV_ZERO_NOFALLBACK);
	else
		ret = vfs_fallocate(backend->file, FALLOC_FL_PUNCH_HOLE |
				    FALLOC_FL_KEEP_SIZE, hoff, len);
	if (ret == -EOPNOTSUPP)
		WRITE_ONCE(backend->no_punch, true);
	return qcow2_backend_error(ret);
}

static int zero_file(struct qcow2_backend *backend, u64 hoff, u64 len)
{
	u64 size = round_up(qcow2_backend_size(backend), backend->granule);
	int ret;

	if (hoff >= size)
		return 0;
	len = min(len, size - hoff);
	if (len <= ZERO_BY_WRITING)
		return qcow2_backend_write_zeros(backend, hoff, len);
	ret = vfs_fallocate(backend->file,
			    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
			    hoff, len);
	if (ret == -EOPNOTSUPP)
		ret = vfs_fallocate(backend->file, FALLOC_FL_PUNCH_HOLE |
				    FALLOC_FL_KEEP_SIZE, hoff, len);
	if (ret == -EOPNOTSUPP)
		ret = qcow2_backend_write_zeros(backend, hoff, len);
	return qcow2_backend_error(ret);
}

int qcow2_backend_zero(struct qcow2_backend *backend, u64 hoff, u64 len)
{
	if ((hoff | len) & (backend->granule - 1))
		return -EINVAL;
	if (!backend->bdev)
		return zero_file(backend, hoff, len);
	if (hoff + len > qcow2_backend_size(backend))
		return -ENOSPC;
	return blkdev_issue_zeroout(backend->bdev, hoff >> SECTOR_SHIFT,
				    len >> SECTOR_SHIFT, GFP_NOIO, 0);
}
