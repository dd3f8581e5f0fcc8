/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A snapshot outside of the image: the image stays as it is, and what is
 * written from now on goes to a new one over it.
 */
#ifndef QCOW2CTL_SNAPSHOT_EXTERNAL_H
#define QCOW2CTL_SNAPSHOT_EXTERNAL_H

#include "edit.h"

/* Prints its error and returns an exit code. */
int snapshot_create_external(const char *target, const char *overlay,
			     const struct edit_options *options);

#endif
