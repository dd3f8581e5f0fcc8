/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * How much room an image takes in its file or on its block device.
 */
#ifndef QCOW2CTL_MEASURE_H
#define QCOW2CTL_MEASURE_H

#include "create.h"

struct measure {
	u64 required;		/* bytes: now, or when it is new */
	u64 fully_allocated;	/* when every byte of the disk has been written */
};

/* A new image; the same numbers as qemu-img measure --size. Prints and returns an exit code. */
int measure_new(const struct create_request *request, struct measure *measure);
/*
 * An image as it is, with its snapshots, which keep what they have. Prints and
 * returns an exit code.
 */
int measure_image(const char *target, struct measure *measure);

#endif
