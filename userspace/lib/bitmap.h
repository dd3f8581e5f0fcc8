/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The persistent bitmaps of an image.
 */
#ifndef QCOW2CTL_BITMAP_H
#define QCOW2CTL_BITMAP_H

#include "image.h"

/*
 * The names of a verified image's bitmaps, NULL-terminated (NULL = none), for
 * mem_free_strings(). Prints and returns an exit code.
 */
int bitmap_read_names(const struct image *image, char ***names);

#endif
