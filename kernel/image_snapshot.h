/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The snapshot table of an image, and the view of one entry: image_snapshot.c
 * says why it is safe. Part of image.c; ioctl context, inside
 * memalloc_noio_save(), may sleep.
 */
#ifndef QCOW2_IMAGE_SNAPSHOT_H
#define QCOW2_IMAGE_SNAPSHOT_H

#include "image.h"

#define QCOW2_VIEW_ID_MAX	255	/* bytes; QEMU's ids are numbers */

struct qcow2_view {
	char id[QCOW2_VIEW_ID_MAX + 1];	/* I: printable */
	struct qcow2_snapshot entry;	/* I: as the constructor found it */
	u64 table_length;		/* of the last activation: bytes */
	bool stale;			/* the entry has changed; READ_ONCE anywhere, never unset */
	/* I: any context; the entry is stale now */
	void (*event)(struct qcow2_image *image);
};

/*
 * Call @found (or NULL) for each entry that can be decoded, in order: its
 * strings are offsets into @table. *@length is that of all of them, *@count
 * (or NULL) how many; the table ends early where it cannot be decoded. 0,
 * -EIO, -ENOMEM.
 */
int qcow2_image_snapshots(struct qcow2_backend *backend, const struct qcow2_header *h,
			  void (*found)(void *arg, const void *table,
					const struct qcow2_snapshot *snap),
			  void *arg, u64 *length, u32 *count);

/*
 * Constructor: make @image the view of the snapshot with this id, or else with
 * this name. -ENOENT: there is none; -EFBIG, -EUCLEAN, -EOPNOTSUPP.
 */
int qcow2_view_open(struct qcow2_image *image, const char *id, const char **error);
void qcow2_view_close(struct qcow2_image *image);
/*
 * preresume: is the entry what it was? If not the view is stale; that is no
 * error. Sets what image->header says of the snapshot table, and the sizes.
 */
int qcow2_view_activate(struct qcow2_image *image);
/* The owner of the image has resumed: the claim asks. Under the claim's mutex. */
void qcow2_view_recheck(struct qcow2_use *use);

#endif
