/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Who may do what to an image: one claim per real inode (or block device),
 * kernel-wide, with QEMU's byte locks towards other processes and byte 300
 * towards qcow2ctl. The state table is at the top of claim_owner.c.
 *
 * Layer 1. Called from ioctl context only (constructor, destructor,
 * preresume, postsuspend, message), inside memalloc_noio_save(); may sleep,
 * lock calls of network file systems included. Status may call the getters.
 */
#ifndef QCOW2_CLAIM_H
#define QCOW2_CLAIM_H

#include <linux/fs.h>
#include <linux/list.h>
#include "dm-qcow2.h"

enum qcow2_role {
	QCOW2_ROLE_WRITER,	/* active top layer, read-write; or its data file */
	QCOW2_ROLE_READER,	/* read-only top layer, or any lower layer */
	QCOW2_ROLE_VIEW,	/* view of an internal snapshot */
	QCOW2_NR_ROLES,
};

enum qcow2_claim_state {
	QCOW2_CLAIM_RESERVED,	/* nobody has the right to write */
	QCOW2_CLAIM_ACTIVE,	/* the owner's caches may be newer than the file */
	QCOW2_CLAIM_PARKED,	/* the owner is suspended, the file is complete */
	QCOW2_CLAIM_LOST,	/* the owner was suspended with changes that the file lacks */
};

struct qcow2_claim;
struct qcow2_claim_point;

/* One user of a claim; embedded in the image object of one table. */
struct qcow2_use {
	struct qcow2_claim *claim;	/* NULL: not joined */
	struct list_head list;		/* claim->mutex */
	struct dm_table *table;		/* constant; identity only */
	struct mapped_device *md;	/* constant */
	enum qcow2_role role;		/* constant */
	bool active;			/* claim->mutex; getters read it without */
	void (*recheck)(struct qcow2_use *use); /* constant; of a view, see args */
	/* The inodes that the user's path leads to: [1] is the one below an overlay. */
	struct qcow2_claim_point *point[2];	/* constant */
};

struct qcow2_claim_args {
	struct file *file;	/* image file, or node of a block device; NULL for major:minor */
	dev_t dev;		/* number of a block-device image; 0 for a file */
	bool same_file;		/* f_op->lock exists: the writer's I/O file must hold the locks */
	enum qcow2_role role;
	struct dm_table *table;	/* of the target that is being constructed */
	/* of a view: qcow2_claim_recheck(); with the claim's mutex held, may read the image */
	void (*recheck)(struct qcow2_use *use);
};

int qcow2_claim_init(void);
void qcow2_claim_exit(void);

/*
 * Constructor: join or create the claim, take QEMU's bytes for the role,
 * probe, undo on conflict. Sets *@error to a sentence and logs the values
 * ("image is in use by device vm1 (253:3)", "image is locked by another
 * process (byte 201)"). Takes its own reference on args->file if it keeps it.
 *
 * -EBUSY: another device or process uses the image in a way that does not go
 * together with @args->role, or qcow2ctl frees data under what shall be viewed.
 * -EINVAL: the table uses the image twice, once for writing. -EOPNOTSUPP: an
 * image on overlayfs cannot be written; the file system has no byte locks.
 */
int qcow2_claim_join(struct qcow2_use *use, const struct qcow2_claim_args *args,
		     const char **error);
/*
 * Destructor, in any order, also of an active or not joined user. The last user
 * unlocks; a parked claim passes to another table of the same device.
 */
void qcow2_claim_leave(struct qcow2_use *use);

/*
 * The file that holds the locks, or NULL; no reference is taken. For
 * qcow2_backend_use_file() of a writer with same_file: then it is open for
 * writing and stays the same until the last writer leaves. Nobody else may look.
 */
struct file *qcow2_claim_file(const struct qcow2_use *use);

/*
 * preresume. 0: ownership taken, byte 300 is held (a view relies on the owner's
 * where there is one; byte 301 is held since it joined). 1: the image is lost
 * for every device, come up in mode lost. -EBUSY: another device is active or
 * has parked it, or a tool edits; the reason is logged, nothing has changed.
 * -ESTALE: the file was replaced under overlayfs.
 */
int qcow2_claim_activate(struct qcow2_use *use);
/*
 * Undo qcow2_claim_activate() when preresume fails later on: what was parked is
 * parked again, with its heir.
 */
void qcow2_claim_deactivate(struct qcow2_use *use);
/*
 * postsuspend, after the last commit. @clean: drop byte 300, parked. Not clean:
 * keep byte 300 and become lost. For readers and views @clean means nothing.
 * Does nothing for a user that is not active.
 */
void qcow2_claim_park(struct qcow2_use *use, bool clean);
/*
 * preresume of a writer, after activation and before it writes: the image may
 * have been edited. Has every active view of it look at its snapshot again.
 */
void qcow2_claim_recheck(struct qcow2_use *use);
/*
 * Message handover: @heir, a device with a writer on this claim, may take over
 * what the device of @use has parked. It replaces the heir named before, also
 * when it fails. -EINVAL: not parked by this device, or @heir is that device or
 * does not want to write; -ENOENT: @heir does not use the image.
 */
int qcow2_claim_handover(struct qcow2_use *use, dev_t heir);

/* As seen by the device of @use. A suspended reader is reserved. Any context. */
enum qcow2_claim_state qcow2_claim_state(const struct qcow2_use *use);
const char *qcow2_claim_state_name(enum qcow2_claim_state state);
/* Users of the claim in this kernel, for tests and status. Any context. */
unsigned int qcow2_claim_users(const struct qcow2_use *use);

#endif
