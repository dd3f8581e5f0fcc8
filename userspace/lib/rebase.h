/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Change which backing file an image names, and nothing else.
 */
#ifndef QCOW2CTL_REBASE_H
#define QCOW2CTL_REBASE_H

#include "edit.h"

/* @backing is stored as it is; NULL: none any more. Prints and returns an exit code. */
int rebase_unsafe(const char *image, const char *backing, bool raw,
		  const struct edit_options *options);

/*
 * A header extension of ours, which others skip and keep: the disk has moved to the image that the text
 * names, and this one is stale.
 */
#define REBASE_EXT_MOVED	0x6d6f7664
int rebase_mark_moved(const char *image, const char *text);

#endif
