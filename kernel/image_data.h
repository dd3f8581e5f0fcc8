/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The external data file of an image: where its guest data lies, each cluster
 * at its own guest offset, while the image itself holds metadata only.
 *
 * Only for the files of image. Layer 5. Context and errors as image.h.
 */
#ifndef QCOW2_IMAGE_DATA_H
#define QCOW2_IMAGE_DATA_H

#include "backend.h"
#include "claim.h"

struct qcow2_image;
struct qcow2_layer;

struct qcow2_data_file {
	struct qcow2_backend backend;
	struct qcow2_use use;	/* a claim of its own, with the image's role */
};

/*
 * Constructor, after the header was read: does the table give a data file
 * exactly where the header wants one, and can it be used? Then it is opened and
 * claimed. *@error is set to a sentence. Without one nothing happens.
 */
int qcow2_image_data_open(struct qcow2_image *image, struct dm_target *ti,
			  const struct qcow2_layer *layer, const char **error);
/* Destructor; also without one. */
void qcow2_image_data_close(struct qcow2_image *image);
/* Has the file what the header of now says? Constructor and preresume. */
int qcow2_image_data_check(const struct qcow2_image *image, const char **error);

/*
 * Constructor: a claim on the image or on its data file, which lies in @backend,
 * with the role that @layer gives. qcow2_claim_leave() takes it back.
 */
int qcow2_image_join(struct qcow2_backend *backend, struct qcow2_use *use, struct dm_target *ti,
		     const struct qcow2_layer *layer, const char **error);

#endif
