/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The external data file of an image under edit. Guest data lies there at its
 * own offset, so no table says where: what lies behind the end of the disk, or
 * where no cluster is mapped, may be written while the image is still the old
 * one, and all that the new one shows has to be durable before its header is.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_EDIT_DATA_H
#define QCOW2CTL_EDIT_DATA_H

#include "edit.h"

struct edit_data {
	struct image image;	/* fd -1: there is none */
	struct plan plan;
	u64 old_end;		/* bytes of a file before the edit */
	bool is_ours;		/* locked, and to be written */
};

#define EDIT_DATA_CLOSED	{ .image = IMAGE_CLOSED }

static inline bool edit_has_data(const struct edit_data *data)
{
	return data->image.fd >= 0;
}

/*
 * Open the data file if the image has one: that of the device's table, or the
 * one that the image names, in its own folder or below. It tells @edit about
 * the file, and does nothing if it is open already.
 */
int edit_data_open(struct edit_data *data, struct edit *edit);
/* Lock it for writing, when the image is ours and nothing is written yet, and begin a plan for it. */
int edit_data_take(struct edit_data *data, struct edit *edit);
/*
 * Close it, before edit_end(): the locks must be gone when the device is
 * resumed. Without a commit the file gets its old length back.
 */
void edit_data_close(struct edit_data *data, const struct edit *edit);

#endif
