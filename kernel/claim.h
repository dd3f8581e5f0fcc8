/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Who may do what to an image: one claim per real inode (or block device),
 * kernel-wide, with QEMU's byte locks towards other processes and byte 300
 * towards qcow2ctl. rules.md (b) is the state table and binds.
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
	QCOW2_ROLE_WRITER,	/* active top layer, read-write */
	QCOW2_ROLE_READER,	/* read-only top layer, or any lower layer */
	QCOW2_ROLE_VIEW,	/* view of an internal snapshot */
};

enum qcow2_claim_state {
	QCOW2_CLAIM_RESERVED,
	QCOW2_CLAIM_ACTIVE,
	QCOW2_CLAIM_PARKED,
	QCOW2_CLAIM_LOST,
};

struct qcow2_claim;

/* One user of a claim; embedded in the image object of one table. */
struct qcow2_use {
	struct qcow2_claim *claim;
	struct list_head list;		/* claim->mutex */
	struct mapped_device *md;	/* constant */
	enum qcow2_role role;		/* constant */
	bool active;			/* claim->mutex */
};

struct qcow2_claim_args {
	struct file *file;	/* the image file, or the block device's node; NULL for major:minor */
	dev_t dev;		/* number of a block-device image; 0 for a file */
	bool same_file;		/* f_op->lock exists: the writer's I/O file must hold the locks */
	enum qcow2_role role;
	struct mapped_device *md;
};

int qcow2_claim_init(void);
void qcow2_claim_exit(void);

/*
 * Constructor: join or create the claim, take QEMU's bytes for the role,
 * probe, undo on conflict. Refuses overlayfs for writing (EOPNOTSUPP, "give
 * the path in the upper layer"), file systems without byte locks, and every
 * conflict of rules.md (b) with EBUSY. Sets *@error to a sentence, logs the
 * holder ("image is in use by device vm1 (253:3)", "locked by another process
 * (byte 201)"). Takes its own reference on args->file if it keeps it.
 */
int qcow2_claim_join(struct qcow2_use *use, const struct qcow2_claim_args *args,
		     const char **error);
/* Destructor; @use may be not joined (claim NULL). Last user: unlock explicitly, fput. */
void qcow2_claim_leave(struct qcow2_use *use);

/* The file that holds the locks, for qcow2_backend_use_file(); no reference is taken. */
struct file *qcow2_claim_file(const struct qcow2_use *use);

/*
 * preresume. 0: ownership taken (300r for writer and reader; 301r for a
 * view). 1: the image is lost for every device, come up in mode lost.
 * -EBUSY: another device is active or parked it, or a tool edits (300w held);
 * the reason is logged, the state stays. -ESTALE: an overlayfs file was copied up.
 */
int qcow2_claim_activate(struct qcow2_use *use);
/* Undo qcow2_claim_activate() when preresume fails later on. */
void qcow2_claim_deactivate(struct qcow2_use *use);
/*
 * postsuspend, after the last commit. @clean: drop 300r, parked. Not clean:
 * keep 300r and become lost. Idempotent.
 */
void qcow2_claim_park(struct qcow2_use *use, bool clean);
/* Message handover: name the heir of a parked claim (rules.md 21). */
int qcow2_claim_handover(struct qcow2_use *use, dev_t heir);

enum qcow2_claim_state qcow2_claim_state(const struct qcow2_use *use);
const char *qcow2_claim_state_name(enum qcow2_claim_state state);
/* Users of the claim in this kernel, for tests and status. */
unsigned int qcow2_claim_users(const struct qcow2_use *use);

#endif
