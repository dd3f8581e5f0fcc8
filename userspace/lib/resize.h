/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Make a disk larger or smaller.
 */
#ifndef QCOW2CTL_RESIZE_H
#define QCOW2CTL_RESIZE_H

#include "edit.h"

struct resize_request {
	const char *target;
	char sign;		/* '+', '-': by so much; 0: to so much */
	u64 size;		/* bytes */
	bool shrink;		/* may become smaller */
};

/* Prints its error and returns an exit code. */
int resize_image(const struct resize_request *request, const struct edit_options *options);

#endif
