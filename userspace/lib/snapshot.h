/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The internal snapshots of an image.
 */
#ifndef QCOW2CTL_SNAPSHOT_H
#define QCOW2CTL_SNAPSHOT_H

#include "image.h"
#include "out.h"

struct snapshot {
	char *id;
	char *tag;
	u64 date;	/* seconds since 1970 */
	u64 size;	/* of the disk, bytes */
	u64 vmstate;	/* bytes */
};

extern const struct out_field snapshot_fields[];

/*
 * Read the list of a verified image. *@rows describes it for output and is for
 * snapshot_release(). Prints and returns an exit code.
 */
int snapshot_read(const struct image *image, struct out_rows *rows);
void snapshot_release(struct out_rows *rows);

#endif
