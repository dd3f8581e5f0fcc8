// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Joining and leaving a claim: who may use an image at all.
 *
 * A user joins when its table is loaded and leaves when the table is destroyed;
 * in between it becomes active in preresume and stops in postsuspend. All
 * conflicts between devices, and all with other processes, are found while
 * joining, because a table that fails to load costs nothing, and a device that
 * fails to resume has lost its old table.
 *
 * A writer shares the image with no other user but tables of the same disk:
 * other tables of its device, and those of the device whose name differs by the
 * suffix ".real" only, which is the same disk seen below a layer. Readers go
 * with readers, views of snapshots with everybody. What is left for preresume
 * is which table of one disk has its turn, and whether a tool is at work: that
 * is claim_owner.c.
 *
 * The claim belongs to the real inode, so that hard links, bind mounts and the
 * two sides of overlayfs are one image; and to the number of a block device,
 * by whatever node it was given.
 *
 * A claim is one user's or a thousand users'. Joining looks through the
 * users of the other kind only, and writers have few of them.
 */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/magic.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include "claim_owner.h"

static DEFINE_SPINLOCK(registry_lock);
static DECLARE_HASHTABLE(registry, 8);

/* ------------------------------------------------------------------------
 * Registry
 */

static unsigned long key_of(const struct inode *inode, dev_t dev)
{
	return inode ? (unsigned long)inode : dev;
}

static struct qcow2_claim *claim_alloc(struct inode *inode, dev_t dev)
{
	struct qcow2_claim *claim = kzalloc(sizeof(*claim), GFP_KERNEL);
	int role;

	if (!claim)
		return NULL;
	claim->refs = 1;
	claim->inode = inode;
	claim->dev = dev;
	mutex_init(&claim->mutex);
	for (role = 0; role < QCOW2_NR_ROLES; role++)
		INIT_LIST_HEAD(&claim->uses[role]);
	qcow2_claim_points_init(&claim->points);
	return claim;
}

static struct qcow2_claim *__find(const struct inode *inode, dev_t dev)
{
	struct qcow2_claim *claim;

	lockdep_assert_held(&registry_lock);
	hash_for_each_possible(registry, claim, node, key_of(inode, dev)) {
		if (claim->inode == inode && claim->dev == dev)
			return claim;
	}
	return NULL;
}

/*
 * The caller has @inode open. A claim found may just have lost its last user,
 * even one of a former inode at the same address: it holds nothing any more and
 * is as good as new.
 */
static struct qcow2_claim *claim_get(struct inode *inode, dev_t dev)
{
	struct qcow2_claim *new = claim_alloc(inode, dev);
	struct qcow2_claim *claim;

	if (!new)
		return NULL;
	spin_lock(&registry_lock);
	claim = __find(inode, dev);
	if (claim) {
		claim->refs++;
	} else {
		claim = new;
		new = NULL;
		hash_add(registry, &claim->node, key_of(inode, dev));
	}
	spin_unlock(&registry_lock);
	kfree(new);
	return claim;
}

/* Not with the mutex held: as soon as the count is down, others may free the claim. */
static void claim_put(struct qcow2_claim *claim)
{
	bool last;

	spin_lock(&registry_lock);
	last = !--claim->refs;
	if (last)
		hash_del(&claim->node);
	spin_unlock(&registry_lock);
	if (last)
		kfree(claim);
}

int qcow2_claim_init(void)
{
	hash_init(registry);
	return 0;
}

void qcow2_claim_exit(void)
{
	WARN_ON_ONCE(!hash_empty(registry));
}

/* ------------------------------------------------------------------------
 * Points
 */

static bool is_overlay(const struct file *file, const struct inode *real)
{
	return file_inode(file) != real || file_inode(file)->i_sb->s_magic == OVERLAYFS_SUPER_MAGIC;
}

/*
 * Open the file below an overlay, to lock where those lock who do not come
 * through the overlay. The overlay's mount keeps the lower one alive.
 */
static struct file *open_real(const struct file *file, struct inode *real)
{
	struct path path = { .mnt = file->f_path.mnt, .dentry = d_find_alias(real) };
	struct file *opened;

	if (!path.dentry)
		return ERR_PTR(-ESTALE);
	opened = dentry_open(&path, O_RDONLY | O_LARGEFILE | O_NOATIME, file->f_cred);
	dput(path.dentry);
	return opened;
}

static int __add_points(struct qcow2_claim *claim, struct qcow2_use *use,
			const struct qcow2_claim_args *args, unsigned int *conflict)
{
	struct file *real;
	int ret;

	if (!args->file)
		return 0;
	ret = qcow2_claim_points_add(&claim->points, args->file, &use->point[0], conflict);
	if (ret || args->dev || !is_overlay(args->file, claim->inode))
		return ret;

	real = open_real(args->file, claim->inode);
	if (IS_ERR(real))
		return PTR_ERR(real);
	ret = qcow2_claim_points_add(&claim->points, real, &use->point[1], conflict);
	fput(real);
	return ret;
}

static void __put_points(struct qcow2_use *use)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(use->point); i++) {
		qcow2_claim_points_put(use->point[i]);
		use->point[i] = NULL;
	}
}

/*
 * Which of several opens holds the locks? Where the file system ties I/O to
 * locks, one that the writer can use. Else one that is only for reading, because
 * an open for writing keeps the mount from being made read-only.
 */
static int __choose_file(struct qcow2_use *use, const struct qcow2_claim_args *args)
{
	struct qcow2_claim_point *point = use->point[0];
	bool want_writable = args->same_file;

	if (!point || (args->same_file && args->role != QCOW2_ROLE_WRITER))
		return 0;
	if (!!(point->bytes.file->f_mode & FMODE_WRITE) == want_writable ||
	    !!(args->file->f_mode & FMODE_WRITE) != want_writable)
		return 0;
	return qcow2_claim_bytes_move(&point->bytes, args->file);
}

/* ------------------------------------------------------------------------
 * Conflicts
 */

static bool is_real_name_of(const char *real, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(real, name, len) && !strcmp(real + len, ".real");
}

/* NAME and NAME.real: one disk, above and below a layer. */
static bool is_same_disk(struct mapped_device *a, struct mapped_device *b)
{
	char name_a[DM_NAME_LEN], name_b[DM_NAME_LEN];

	if (dm_copy_name_and_uuid(a, name_a, NULL) || dm_copy_name_and_uuid(b, name_b, NULL))
		return false;
	return is_real_name_of(name_a, name_b) || is_real_name_of(name_b, name_a);
}

/* Do @use and @other, not both readers and neither a view, go together? */
static bool __agree(const struct qcow2_use *use, const struct qcow2_use *other)
{
	if (other->md == use->md)
		return other->table != use->table;
	if (!is_same_disk(other->md, use->md))
		return false;
	return !(use->role == QCOW2_ROLE_WRITER && other->role == QCOW2_ROLE_READER &&
		 other->active);
}

static struct qcow2_use *__find_conflict(struct qcow2_claim *claim, const struct qcow2_use *use)
{
	struct qcow2_use *other = claim->own.owner;

	if (use->role == QCOW2_ROLE_VIEW)
		return NULL;
	/* A reader, too, can have inherited what its device had parked or lost. */
	if (other && other->md != use->md && !is_same_disk(other->md, use->md))
		return other;
	list_for_each_entry(other, &claim->uses[QCOW2_ROLE_WRITER], list) {
		if (!__agree(use, other))
			return other;
	}
	if (use->role == QCOW2_ROLE_READER)
		return NULL;
	list_for_each_entry(other, &claim->uses[QCOW2_ROLE_READER], list) {
		if (!__agree(use, other))
			return other;
	}
	return NULL;
}

static int __check_users(struct qcow2_claim *claim, const struct qcow2_use *use,
			 const struct file *file, const char **error)
{
	struct qcow2_use *other = __find_conflict(claim, use);

	if (!other)
		return 0;
	if (other->table == use->table) {
		*error = "table uses an image twice, once for writing";
		qcow2_claim_complain(claim, use, file,
				     "image appears twice in the table, once for writing");
		return -EINVAL;
	}
	*error = "image is in use by another device";
	__qcow2_claim_complain_of(claim, use, file, other);
	return -EBUSY;
}

static int explain_bytes(const struct qcow2_claim *claim, const struct qcow2_use *use,
			 const struct file *file, int ret, unsigned int conflict,
			 const char **error)
{
	switch (ret) {
	case -EAGAIN:
		*error = "image is locked by another process";
		qcow2_claim_complain(claim, use, file,
				     "image is locked by another process (byte %u)", conflict);
		return -EBUSY;
	case -EOPNOTSUPP:
		*error = "file system of the image has no byte locks";
		break;
	case -ESTALE:
		*error = "image was removed below overlayfs";
		break;
	default:
		*error = "cannot lock the image";
		break;
	}
	qcow2_claim_complain(claim, use, file, "%s (%pe)", *error, ERR_PTR(ret));
	return ret;
}

/* ------------------------------------------------------------------------
 * Joining and leaving
 */

static int __take_bytes(struct qcow2_claim *claim, struct qcow2_use *use,
			const struct qcow2_claim_args *args, unsigned int *conflict)
{
	int ret;

	ret = __add_points(claim, use, args, conflict);
	if (ret)
		return ret;
	WRITE_ONCE(claim->nr_uses[use->role], claim->nr_uses[use->role] + 1);
	ret = __qcow2_claim_update_bytes(claim, conflict);
	if (!ret)
		ret = __choose_file(use, args);
	if (!ret)
		return 0;
	WRITE_ONCE(claim->nr_uses[use->role], claim->nr_uses[use->role] - 1);
	__qcow2_claim_settle_bytes(claim, use);
	return ret;
}

static int __join(struct qcow2_claim *claim, struct qcow2_use *use,
		  const struct qcow2_claim_args *args, const char **error)
{
	unsigned int conflict = 0;
	int ret;

	lockdep_assert_held(&claim->mutex);
	ret = __check_users(claim, use, args->file, error);
	if (ret)
		return ret;
	ret = __take_bytes(claim, use, args, &conflict);
	if (ret) {
		__put_points(use);
		return explain_bytes(claim, use, args->file, ret, conflict, error);
	}
	use->claim = claim;
	list_add_tail(&use->list, &claim->uses[use->role]);
	return 0;
}

int qcow2_claim_join(struct qcow2_use *use, const struct qcow2_claim_args *args,
		     const char **error)
{
	struct inode *inode = NULL;
	struct qcow2_claim *claim;
	int ret;

	memset(use, 0, sizeof(*use));
	use->table = args->table;
	use->md = dm_table_get_md(args->table);
	use->role = args->role;
	use->recheck = args->recheck;

	if (!args->dev)
		inode = d_real_inode(file_dentry(args->file));
	if (inode && use->role == QCOW2_ROLE_WRITER && is_overlay(args->file, inode)) {
		*error = "image on overlayfs cannot be written: give the path in the upper layer";
		DMERR("%s: %pD4: %s", dm_device_name(use->md), args->file, *error);
		return -EOPNOTSUPP;
	}
	claim = claim_get(inode, args->dev);
	if (!claim) {
		*error = "not enough memory";
		return -ENOMEM;
	}
	mutex_lock(&claim->mutex);
	ret = __join(claim, use, args, error);
	mutex_unlock(&claim->mutex);
	if (ret)
		claim_put(claim);
	return ret;
}

static void __leave(struct qcow2_claim *claim, struct qcow2_use *use)
{
	lockdep_assert_held(&claim->mutex);
	list_del(&use->list);
	WRITE_ONCE(claim->nr_uses[use->role], claim->nr_uses[use->role] - 1);
	__qcow2_claim_disown(claim, use);
	__qcow2_claim_settle_bytes(claim, use);
	__put_points(use);
}

void qcow2_claim_leave(struct qcow2_use *use)
{
	struct qcow2_claim *claim = use->claim;

	if (!claim)
		return;
	mutex_lock(&claim->mutex);
	__leave(claim, use);
	mutex_unlock(&claim->mutex);
	use->claim = NULL;
	claim_put(claim);
}
