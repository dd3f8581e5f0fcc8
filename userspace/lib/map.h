/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Where the bytes of a disk are: extents in the order of the disk, as
 * qemu-img map has them. The layers that an image names, or the table of a device,
 * are opened for that, to read tables and to ask where raw files have holes; no data
 * is read.
 */
#ifndef QCOW2CTL_MAP_H
#define QCOW2CTL_MAP_H

#include "device.h"
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
/*
 * The same for a device with the layers that its table has, whatever the images say; it is suspended
 * meanwhile if it is written. What was visited before an error counts for nothing.
 */
int map_run_device(const struct device *device, map_visit *visit, void *data);
/* The same for a snapshot, or (NULL) what a device shows that is not written; nothing is suspended. */
int map_run_frozen(const struct device *device, const char *snapshot, map_visit *visit, void *data);

#endif
