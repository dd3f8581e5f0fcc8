/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The inside of a claim, for claim.c and claim_owner.c only.
 *
 * A function whose name begins with underscores wants claim->mutex held.
 */
#ifndef QCOW2_CLAIM_OWNER_H
#define QCOW2_CLAIM_OWNER_H

#include <linux/mutex.h>
#include "claim.h"
#include "claim_points.h"

/* Who has the right to write, and who may get it. */
struct qcow2_ownership {
	enum qcow2_claim_state state;
	struct qcow2_use *owner;	/* NULL if reserved */
	struct qcow2_use *heir;		/* of a parked owner, or NULL */
};

/*
 * registry_lock protects node and refs and is never held across anything that
 * sleeps. The mutex protects what follows it and is held across lock calls,
 * which may hang with their server: so nothing that other claims need is
 * held while waiting for it. dm's lock for names nests inside it.
 */
struct qcow2_claim {
	struct hlist_node node;
	unsigned int refs;		/* users, and who is about to join or has just left */
	struct inode *inode;		/* constant; the real inode of a file: the key */
	dev_t dev;			/* constant; a block device: the key */

	struct mutex mutex;		/* of all below */
	struct qcow2_ownership own;
	struct mapped_device *owner_md;	/* of own.owner, for getters: compared, not followed */
	struct qcow2_ownership undo;	/* before undo_use became active */
	struct qcow2_use *undo_use;	/* active, may still be deactivated; or NULL */
	struct list_head uses[QCOW2_NR_ROLES];
	unsigned int nr_uses[QCOW2_NR_ROLES];
	unsigned int nr_active[QCOW2_NR_ROLES];
	struct qcow2_claim_points points;
};

/* Log a line about the image as the device of @use sees it. @file names it; NULL: by number. */
__printf(4, 5)
void qcow2_claim_complain(const struct qcow2_claim *claim, const struct qcow2_use *use,
			  const struct file *file, const char *fmt, ...);
/* Log who holds the image, and how. */
void __qcow2_claim_complain_of(const struct qcow2_claim *claim, const struct qcow2_use *use,
			       const struct file *file, const struct qcow2_use *holder);

/* Bring the bytes in line with users and state; or nothing has changed. */
int __qcow2_claim_update_bytes(struct qcow2_claim *claim, unsigned int *conflict);
/* The same after a change that cannot be refused. */
void __qcow2_claim_settle_bytes(struct qcow2_claim *claim, const struct qcow2_use *use);

/* @use, off the lists already, is no longer part of any ownership. */
void __qcow2_claim_disown(struct qcow2_claim *claim, struct qcow2_use *use);

#endif
