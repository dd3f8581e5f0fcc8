/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A point in time of a device, frozen: NAME.frozen, read-only and private. The device goes on.
 *
 *	view		an internal snapshot of the image, made for this, and a view of it
 *	snapshot	a layer that copies what is overwritten into a store of its own
 *	itself		a device that is read-only shows nothing else anyway
 *
 * Whoever has the lock on NAME.frozen has the point; it lasts as long as the process. If that is
 * killed, NAME.frozen.intent and the name of the snapshot say what is to be taken away.
 *
 * Functions print their error and return an exit code.
 */
#ifndef QCOW2CTL_BACKUP_POINT_H
#define QCOW2CTL_BACKUP_POINT_H

#include "backup.h"
#include "device.h"

/* The snapshot's name. */
#define BACKUP_TAG	"qcow2ctl-backup"

enum backup_kind { BACKUP_ITSELF, BACKUP_VIEW, BACKUP_SNAPSHOT };

struct backup_point {
	const struct backup_request *request;
	enum backup_kind kind;
	struct device device;		/* as it was before */
	char *frozen;			/* name */
	char *path;			/* of the device that shows the point */
	int lock, node;			/* -1: not there; node keeps the device */
	int fd;				/* of the frozen point, for direct reads */
	u64 size;			/* bytes */
	bool begun;			/* there may be something to take away */
	bool left;			/* its snapshot, as long as somebody's view is attached */
	/* Files that must not be left: of the result, while it has no better name; of the layer. */
	char *part, *store;
	bool store_beside;		/* the result, where the layer would not look for it */
};

/* May it be, and how? Nothing is made yet. backup_point_release() also after an error. */
int backup_point_prepare(struct backup_point *point, const struct backup_request *request);
/* Freeze. @part: a file that must not be left if we are killed, or NULL. */
int backup_point_begin(struct backup_point *point, const char *part);
/* Let go, if that has not been done. */
int backup_point_end(struct backup_point *point);
/* The end of all, when the part is there no more. */
void backup_point_release(struct backup_point *point);
/* Why a read of the point failed, after a message. */
int backup_point_fail(const struct backup_point *point, int error);

#endif
