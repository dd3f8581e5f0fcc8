/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * One layer: an image file or device, opened and verified by the constructor,
 * active from preresume to postsuspend.
 *
 * The constructor may run while another table is live on the same image: it
 * opens, claims and verifies, and keeps nothing that can change. Activation
 * takes ownership through the claim, drops the page cache and reads
 * everything again.
 *
 * Layer 5. ioctl context, inside memalloc_noio_save().
 */
#ifndef QCOW2_IMAGE_H
#define QCOW2_IMAGE_H

#include "backend.h"
#include "claim.h"
#include "commit.h"
#include "dm-qcow2.h"
#include "format.h"
#include "geometry.h"
#include "map.h"
#include "meta.h"
#include "metaset.h"
#include "refcount.h"
#include "unwritten.h"

/* What the table says about a layer. */
struct qcow2_layer {
	const char *path;
	bool raw;
	bool top;
	bool writable;		/* the top layer of a read-write table */
	bool lowest;		/* no layer below */
	bool no_backing;	/* the lowest layer may name a backing file */
	bool drop_bitmaps;
	const char *snapshot;	/* view of this one: id, or else name; or NULL */
	const char *data_file;	/* its external data file, or NULL */
};

struct qcow2_data_file;
struct qcow2_view;

struct qcow2_image {
	bool raw;			/* I */
	bool writable;			/* I: by the table */
	bool drop_bitmaps;		/* I */
	bool damaged;			/* found at activation: not writable */
	bool marked;			/* its corrupt bit is ours: the mode is ro for good */
	u64 size;			/* I after activation: guest bytes; any number for raw */
	struct qcow2_backend backend;
	struct qcow2_use use;
	struct qcow2_backend *data;	/* I: of guest data: backend, or that of data_file */
	struct qcow2_data_file *data_file; /* I: NULL: data lies in the image */
	/*
	 * I after activation: the data file is a raw image of the disk by itself, so
	 * zeros are written there and not put into the mapping.
	 */
	bool data_raw;
	struct qcow2_geometry geo;	/* I: but virtual_size is read again at activation */
	struct qcow2_header header;	/* of the last reading */
	struct qcow2_metaset metaset;
	struct qcow2_meta meta;
	struct qcow2_map map;
	struct qcow2_refcount rc;	/* writable only */
	struct qcow2_unwritten unwritten;	/* writable files only */
	struct qcow2_view *view;	/* I: of a snapshot; NULL: the active layer */
	bool active;
	u64 parked_end;			/* where it ended, as known at the last suspend; or 0 */
};

/*
 * Constructor. Returns 0 or a negative errno of INTERFACE.md with *@error a
 * sentence. @cache, @epoch and @changed are for the layer's metadata and are
 * only used while it is active.
 */
int qcow2_image_open(struct qcow2_image *image, struct dm_target *ti,
		     const struct qcow2_layer *layer, struct qcow2_cache *cache,
		     struct qcow2_epoch *epoch,
		     void (*changed)(struct qcow2_meta *meta, bool now), const char **error);
/* From now on requests find what they must not wait for. Sleeps; any number of times. */
int qcow2_image_reserve(struct qcow2_image *image);
/* Destructor; the image may be half open or untouched (zeroed). */
void qcow2_image_close(struct qcow2_image *image);

/*
 * preresume: take the claim and read the metadata. 1: the claim is lost, the
 * image stays inactive. -EBUSY, -ESTALE (the header no longer fits the
 * table), -EUCLEAN, -EIO; the reason is logged.
 */
int qcow2_image_activate(struct qcow2_image *image);
/*
 * Forget all metadata in memory and drop the page cache. The claim is parked,
 * or lost if not @clean. Nobody is inside the epoch.
 */
void qcow2_image_deactivate(struct qcow2_image *image, bool clean);
/*
 * postsuspend could not commit: the claim is lost, the image stays active as it
 * is, and a resume finds it so.
 */
void qcow2_image_lose(struct qcow2_image *image);
/* postsuspend, message handover: @heir may take over what is parked; qcow2_claim_handover(). */
int qcow2_image_handover(struct qcow2_image *image, dev_t heir);
/* preresume failed further on: as if it had not been activated. */
void qcow2_image_abort(struct qcow2_image *image);

/*
 * Clear the autoclear bits that this writer does not maintain, durably,
 * before the first change. Only for a writable active image.
 */
int qcow2_image_clear_autoclear(struct qcow2_image *image, struct qcow2_commit *commit);
/*
 * Set the corrupt bit, durably: from now on nobody writes to the image before
 * it was repaired. Version 2 has no such bit. Only for a writable active
 * image whose mode is ro; sleeps.
 */
int qcow2_image_mark_corrupt(struct qcow2_image *image, struct qcow2_commit *commit);

#endif
