/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What a guest reads: the bytes of a disk through all layers of its chain. For
 * edits that move data; everything is read as it is on disk, whatever an edit
 * has in memory.
 *
 * Layers below those that were added are opened when a read gets there, by the
 * name and format that the layer above states, as far as the user's words allow
 * that. They are held by QEMU's bytes.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_CONTENT_H
#define QCOW2CTL_CONTENT_H

#include <string.h>
#include "image.h"
#include "tables.h"

struct content_layer {
	struct image *image;
	const struct image *data;	/* where its data lies: @image, or its data file */
	bool is_ours;		/* opened here */
	u64 size;		/* of the disk, bytes */
	u64 *l1;		/* not of a raw layer */
	struct tables tables;
	u8 *inflated;		/* the compressed cluster that was read last */
	u64 inflated_from;	/* its place, 0 = none */
};

enum content_names {
	CONTENT_ANYWHERE,	/* files that images name are opened, wherever they are */
	CONTENT_BESIDE,		/* in the image's own folder or below (chain.h) */
	CONTENT_IGNORED,	/* none: there is nothing below what was added */
};

struct content {
	enum content_names names;
	struct content_layer **layers;
	size_t nr_layers;
};

/* Next layer, top first: an image that is open and verified, or raw. It stays the caller's. */
int content_add(struct content *content, struct image *image);
/* The same for an image whose data lies in file @data; NULL: in the image. */
int content_add_data(struct content *content, struct image *image, const struct image *data);
void content_release(struct content *content);

/*
 * The layer below the last one: *@image is NULL if it names none, or names are
 * ignored. @tolerant: it is NULL also if what it names is no file that may be
 * opened, or has a format that is not stated.
 */
int content_follow(struct content *content, bool tolerant, const struct image **image);

/* @len bytes at @goff as layer @layer shows them. */
int content_read(struct content *content, size_t layer, u64 goff, void *buf, size_t len);
/*
 * Has layer @layer anything of its own, zeros included, in these bytes? They lie
 * in its disk. *@next is the next byte that may differ in this.
 */
int content_has(struct content *content, size_t layer, u64 goff, bool *has, u64 *next);

static inline bool content_is_zero(const char *bytes, size_t len)
{
	return !len || (!*bytes && !memcmp(bytes, bytes + 1, len - 1));
}

#endif
