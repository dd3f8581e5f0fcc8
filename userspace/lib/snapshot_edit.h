/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Create, apply and delete internal snapshots. All print their error and
 * return an exit code.
 */
#ifndef QCOW2CTL_SNAPSHOT_EDIT_H
#define QCOW2CTL_SNAPSHOT_EDIT_H

#include "edit.h"

int snapshot_create(const char *target, const char *tag, const struct edit_options *options);
int snapshot_apply(const char *target, const char *id, const struct edit_options *options);
int snapshot_delete(const char *target, const char *id, const struct edit_options *options);

#endif
