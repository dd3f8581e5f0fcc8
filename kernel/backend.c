// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Opening and closing the file or block device under an image, and learning
 * what it can do.
 */
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/file.h>
#include <linux/log2.h>
#include <linux/magic.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/sizes.h>
#include "backend.h"

#define GRANULE_MAX	SZ_64K	/* above, a file is used through the page cache */
#define BOUNCE_SIZE	SZ_16K	/* at least; the granule where that is larger */

const char *qcow2_backend_device(const struct qcow2_backend *backend)
{
	return dm_device_name(dm_table_get_md(backend->ti->table));
}

static const char *open_sentence(int ret)
{
	switch (ret) {
	case -ENOENT:
	case -ENOTDIR:
		return "image does not exist";
	case -EACCES:
	case -EPERM:
		return "no permission to open the image";
	case -EROFS:
		return "image cannot be opened for writing, because its file system is read-only";
	case -EBUSY:
		return "block device is in use by a file system or another program";
	case -ETXTBSY:
		return "image is in use as a swap file or a running program";
	default:
		return "cannot open the image";
	}
}

/*
 * Zones of a host-managed device must be written in order. A file system over
 * such a device hides that, except zonefs, whose files are the zones.
 */
static int check_zones(const struct qcow2_backend *backend, const char **error)
{
	struct super_block *sb;

	if (backend->bdev) {
		if (!qcow2_bdev_is_host_managed(backend->bdev))
			return 0;
		*error = "block device is host-managed zoned and cannot be written at random";
		DMERR("%s: %pg is a host-managed zoned block device",
		      qcow2_backend_device(backend), backend->bdev);
		return -EOPNOTSUPP;
	}

	sb = file_inode(backend->file)->i_sb;
	if (sb->s_magic != ZONEFS_MAGIC || !backend->writable)
		return 0;
	*error = "image lies on zonefs, whose files cannot be written at random";
	DMERR("%s: %pD lies on zonefs over the zoned block device %pg",
	      qcow2_backend_device(backend), backend->file, sb->s_bdev);
	return -EOPNOTSUPP;
}

static bool file_is_usable(const struct file *file, bool writable)
{
	return (file->f_mode & FMODE_READ) && file->f_op->read_iter &&
	       (!writable ||
		((file->f_mode & FMODE_WRITE) && file->f_op->write_iter));
}

static int check_file(const struct qcow2_backend *backend, const char **error)
{
	struct inode *inode = file_inode(backend->file);
	struct mapped_device *md = dm_table_get_md(backend->ti->table);
	struct block_device *bdev = inode->i_sb->s_bdev;

	if (!file_is_usable(backend->file, backend->writable)) {
		*error = "file system of the image has no read or write method for the kernel";
		return -EOPNOTSUPP;
	}
	if (IS_SWAPFILE(inode)) {
		*error = "image is in use as a swap file";
		return -ETXTBSY;
	}
	if (backend->writable && IS_APPEND(inode)) {
		*error = "image is append-only";
		return -EPERM;
	}
	if (bdev && bdev->bd_dev == disk_devt(dm_disk(md))) {
		*error = "image lies on the device that it is meant for";
		return -EINVAL;
	}
	return 0;
}

/* The page cache is all the storage they have. */
static bool sb_is_memory(const struct super_block *sb)
{
	return sb->s_magic == TMPFS_MAGIC || sb->s_magic == RAMFS_MAGIC;
}

/*
 * What direct I/O demands. A file system that says nothing (network file
 * systems, btrfs) takes any multiple of a sector, if need be by its own copy
 * through the page cache.
 */
static void read_dio_limits(struct qcow2_backend *backend)
{
	struct super_block *sb = file_inode(backend->file)->i_sb;
	struct kstat stat;

	backend->granule = SECTOR_SIZE;
	backend->mem_align = SECTOR_SIZE;
	if (!vfs_getattr(&backend->file->f_path, &stat, STATX_DIOALIGN, 0) &&
	    (stat.result_mask & STATX_DIOALIGN)) {
		backend->granule = qcow2_kstat_read_align(&stat) ?:
				   stat.dio_offset_align;
		backend->mem_align = stat.dio_mem_align;
	} else if (sb->s_bdev) {
		backend->granule = bdev_logical_block_size(sb->s_bdev);
		backend->mem_align = bdev_dma_alignment(sb->s_bdev) + 1;
	}
}

static void use_page_cache(struct qcow2_backend *backend)
{
	backend->direct = false;
	backend->nowait = false;
	backend->granule = SECTOR_SIZE;
	backend->mem_align = 1;
}

static void read_file_limits(struct qcow2_backend *backend)
{
	struct file *file = backend->file;
	struct super_block *sb = file_inode(file)->i_sb;

	backend->extends_with_zeros = true;
	backend->same_file = file->f_op->lock;
	backend->direct = (file->f_mode & FMODE_CAN_ODIRECT) &&
			  !sb_is_memory(sb);
	if (backend->direct) {
		read_dio_limits(backend);
		/* 0 is how a file system says: not for this file. */
		backend->direct = is_power_of_2(backend->granule) &&
				  is_power_of_2(backend->mem_align) &&
				  backend->granule <= GRANULE_MAX;
	}
	if (!backend->direct) {
		use_page_cache(backend);
		return;
	}
	backend->granule = max_t(u32, backend->granule, SECTOR_SIZE);
	backend->nowait = backend->direct && (file->f_mode & FMODE_NOWAIT) &&
			  qcow2_sb_can_inline(sb) &&
			  (!sb->s_bdev || bdev_nowait(sb->s_bdev));
}

static int open_file(struct qcow2_backend *backend, const char *path,
		     const char **error)
{
	int flags = (backend->writable ? O_RDWR : O_RDONLY) | O_LARGEFILE;
	struct file *file;
	int ret;

	/* An update of the access time would start a journal transaction. */
	file = filp_open(path, flags | O_NOATIME, 0);
	if (file == ERR_PTR(-EPERM))
		file = filp_open(path, flags, 0);
	if (IS_ERR(file)) {
		*error = open_sentence(PTR_ERR(file));
		return PTR_ERR(file);
	}
	backend->file = file;
	if (!S_ISREG(file_inode(file)->i_mode)) {
		*error = "image is neither a regular file nor a block device";
		return -EINVAL;
	}
	ret = check_file(backend, error);
	if (!ret)
		ret = check_zones(backend, error);
	if (!ret)
		read_file_limits(backend);
	return ret;
}

/* @number is "major:minor". */
static int open_bdev(struct qcow2_backend *backend, const char *number,
		     const char **error)
{
	typeof(dm_table_get_mode(backend->ti->table)) mode;
	int ret;

	mode = dm_table_get_mode(backend->ti->table);
	if (!backend->writable)
		mode &= ~QCOW2_BLK_WRITE;
	ret = dm_get_device(backend->ti, number, mode, &backend->dev);
	if (ret) {
		backend->dev = NULL;
		*error = open_sentence(ret);
		return ret;
	}
	backend->bdev = backend->dev->bdev;
	if (backend->writable && bdev_read_only(backend->bdev)) {
		*error = "block device is read-only";
		return -EROFS;
	}
	backend->direct = true;
	backend->granule = bdev_logical_block_size(backend->bdev);
	backend->mem_align = bdev_dma_alignment(backend->bdev) + 1;
	return check_zones(backend, error);
}

/* The node only carries byte locks; its number names the device for I/O. */
static int open_node(struct qcow2_backend *backend, const char *path,
		     const char **error)
{
	struct inode *inode;
	struct file *node;
	char number[24];

	node = filp_open(path, O_RDONLY | O_NONBLOCK | O_LARGEFILE, 0);
	if (IS_ERR(node)) {
		*error = open_sentence(PTR_ERR(node));
		return PTR_ERR(node);
	}
	backend->node = node;
	inode = file_inode(node);
	if (!S_ISBLK(inode->i_mode)) {
		*error = "image is neither a regular file nor a block device";
		return -EINVAL;
	}
	snprintf(number, sizeof(number), "%u:%u", MAJOR(inode->i_rdev),
		 MINOR(inode->i_rdev));
	return open_bdev(backend, number, error);
}

/* Nobody could load a table again that shows it. */
static int refuse_control(const struct qcow2_backend *backend, const char **error)
{
	char *buf = kmalloc(PATH_MAX, GFP_KERNEL), *path;
	int ret = 0;

	*error = "out of memory";
	if (!buf)
		return -ENOMEM;
	path = qcow2_backend_path(backend, buf, PATH_MAX);
	*error = "path with control characters, or too long";
	ret = PTR_ERR_OR_ZERO(path);
	for (; !ret && *path; path++) {
		if (iscntrl(*path))
			ret = -EINVAL;
	}
	kfree(buf);
	return ret;
}

/* The type is asked before the open, which on some devices has effects. */
static int open_path(struct qcow2_backend *backend, const char *name,
		     const char **error)
{
	struct path path;
	umode_t mode;
	bool overlay;
	int ret;

	ret = kern_path(name, LOOKUP_FOLLOW, &path);
	if (ret) {
		*error = open_sentence(ret);
		return ret;
	}
	mode = d_backing_inode(path.dentry)->i_mode;
	overlay = path.dentry->d_sb->s_magic == OVERLAYFS_SUPER_MAGIC;
	path_put(&path);

	/* To open it for writing would be to copy it up. */
	if (S_ISREG(mode) && overlay && backend->writable) {
		*error = "image on overlayfs cannot be written: give the path in the upper layer";
		return -EOPNOTSUPP;
	}
	if (S_ISREG(mode))
		return open_file(backend, name, error);
	if (S_ISBLK(mode))
		return open_node(backend, name, error);
	*error = "image is neither a regular file nor a block device";
	return -EINVAL;
}

static bool is_number(const char *path)
{
	unsigned int major, minor;
	char rest;

	return sscanf(path, "%u:%u%c", &major, &minor, &rest) == 2;
}

static void *bounce_alloc(gfp_t gfp, void *size)
{
	return qcow2_backend_buffer((size_t)size, gfp);
}

static void bounce_free(void *buffer, void *size)
{
	free_pages((unsigned long)buffer, get_order((size_t)size));
}

static int init_bounce(struct qcow2_backend *backend, const char **error)
{
	size_t size = max_t(size_t, backend->granule, BOUNCE_SIZE);
	int ret;

	ret = mempool_init(&backend->bounce, 0, bounce_alloc, bounce_free, (void *)size);
	if (ret)
		*error = "not enough memory";
	backend->bounce_size = size;
	return ret;
}

int qcow2_backend_fill(mempool_t *pool, int nr)
{
	int ret = mempool_resize(pool, nr);

	while (!ret && READ_ONCE(pool->curr_nr) < nr) {
		void *element = pool->alloc(GFP_NOIO, pool->pool_data);

		if (!element)
			return -ENOMEM;
		mempool_free(element, pool);
	}
	return ret;
}

int qcow2_backend_reserve(struct qcow2_backend *backend)
{
	return qcow2_backend_fill(&backend->bounce, 1);
}

/*
 * File systems that pass a file on (overlay, FUSE, 9p) may accept the open and
 * refuse the I/O.
 */
static int try_direct(struct qcow2_backend *backend, const char **error)
{
	void *bounce;
	int ret;

	if (!backend->direct || !backend->file)
		return 0;
	bounce = mempool_alloc(&backend->bounce, GFP_NOIO);
	ret = qcow2_backend_read(backend, 0, bounce, backend->granule);
	mempool_free(bounce, &backend->bounce);
	if (ret == -EINVAL || ret == -EOPNOTSUPP) {
		use_page_cache(backend);
		return 0;
	}
	if (ret)
		*error = "image cannot be read";
	return ret;
}

int qcow2_backend_open(struct qcow2_backend *backend, struct dm_target *ti,
		       const char *path, bool writable, const char **error)
{
	int ret;

	memset(backend, 0, sizeof(*backend));
	backend->ti = ti;
	backend->writable = writable;
	*error = NULL;

	if (is_number(path))
		ret = open_bdev(backend, path, error);
	else
		ret = open_path(backend, path, error);
	if (!ret)
		ret = refuse_control(backend, error);
	if (!ret)
		ret = init_bounce(backend, error);
	if (!ret)
		ret = try_direct(backend, error);
	if (ret) {
		DMERR("%s: %s: %s (%pe)", qcow2_backend_device(backend), path, *error,
		      ERR_PTR(ret));
		qcow2_backend_close(backend);
	}
	return ret;
}

void qcow2_backend_use_file(struct qcow2_backend *backend, struct file *file)
{
	struct file *old = backend->file;

	backend->file = get_file(file);
	fput(old);
}

void qcow2_backend_close(struct qcow2_backend *backend)
{
	mempool_exit(&backend->bounce);
	if (backend->dev)
		dm_put_device(backend->ti, backend->dev);
	if (backend->node)
		fput(backend->node);
	if (backend->file)
		fput(backend->file);
	backend->dev = NULL;
	backend->bdev = NULL;
	backend->node = NULL;
	backend->file = NULL;
}

u64 qcow2_backend_size(const struct qcow2_backend *backend)
{
	if (backend->bdev)
		return bdev_nr_bytes(backend->bdev);
	return i_size_read(file_inode(backend->file));
}

char *qcow2_backend_path(const struct qcow2_backend *backend, char *buf,
			 int size)
{
	struct file *file = backend->file ?: backend->node;
	dev_t dev;

	if (file)
		return file_path(file, buf, size);
	dev = backend->bdev->bd_dev;
	if (snprintf(buf, size, "%u:%u", MAJOR(dev), MINOR(dev)) >= size)
		return ERR_PTR(-ENAMETOOLONG);
	return buf;
}

/*
 * Dropping is best effort: a page that somebody is reading right now stays,
 * but it is clean. Pages of a memory file system or of a file that is used
 * through the page cache are not a copy of anything.
 */
static int invalidate_file(struct qcow2_backend *backend)
{
	struct address_space *mapping = backend->file->f_mapping;
	int ret;

	if (!backend->direct)
		return 0;
	ret = filemap_write_and_wait(mapping);
	if (!ret && invalidate_inode_pages2(mapping))
		DMWARN("%s: %pD: some cached pages are busy and stay",
		       qcow2_backend_device(backend), backend->file);
	return ret;
}

int qcow2_backend_invalidate(struct qcow2_backend *backend)
{
	int ret;

	if (backend->file)
		return invalidate_file(backend);
	ret = sync_blockdev(backend->bdev);
	invalidate_bdev(backend->bdev);
	return ret;
}
