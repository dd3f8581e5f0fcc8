/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The metadata of an image that becomes active: tables into memory, and the
 * set of clusters that hold them. Part of image.c; ioctl context.
 */
#ifndef QCOW2_IMAGE_METADATA_H
#define QCOW2_IMAGE_METADATA_H

#include "image.h"

/*
 * Read L1 and, of a writable image, the refcount table, and collect where
 * metadata lies. Metadata that overlaps sets image->damaged. 0, -EIO,
 * -ENOMEM, -EUCLEAN; nothing is kept on errors.
 */
int qcow2_image_metadata_read(struct qcow2_image *image);
void qcow2_image_metadata_forget(struct qcow2_image *image);

#endif
