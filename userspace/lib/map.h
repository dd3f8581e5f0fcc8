/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Where the bytes of a disk are: extents in the order of the disk, as
 * qemu-img map has them. The layers that an image names are opened for that, to
 * read tables and to ask where raw files have holes; no data is read.
 */
#ifndef QCOW2CTL_MAP_H
#define QCOW2CTL_MAP_H

#include "image.h"

struct map_extent {
	u64 start, length;
	u32 depth;		/* of the layer that decided, 0 = the image itself */
	bool present;		/* that layer has it; else nothing has */
	bool zero;		/* reads as zeros */
	bool data;		/* is in a file; with zero: in a hole of it */
	bool compressed;
	bool has_offset;
	u64 offset;		/* of the bytes in file; not for compressed or encrypted ones */
	const char *file;	/* good during the visit */
};

/* Prints and returns an exit code; so does the visitor. */
typedef int map_visit(void *data, const struct map_extent *extent);
int map_run(const char *target, map_visit *visit, void *data);

#endif
