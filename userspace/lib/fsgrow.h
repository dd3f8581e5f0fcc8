/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Let the file system on a device fill it, by its own program: ext2 to ext4,
 * xfs, btrfs. Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_FSGROW_H
#define QCOW2CTL_FSGROW_H

#include <stdbool.h>

struct fsgrow {
	char *path;		/* of the device */
	char *mount;		/* where it is mounted, or NULL */
	const struct fsgrow_kind *kind;
};

/* Can it be done? Asked before the device grows; fsgrow_release() also after an error. */
int fsgrow_prepare(struct fsgrow *grow, const char *target);
int fsgrow_run(const struct fsgrow *grow);
void fsgrow_release(struct fsgrow *grow);

#endif
