/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Commit: put what an image holds into its backing file, and empty it.
 */
#ifndef QCOW2CTL_MERGE_H
#define QCOW2CTL_MERGE_H

#include "edit.h"

/* Prints its error and returns an exit code. */
int merge_image(const char *image, const struct edit_options *options);

#endif
