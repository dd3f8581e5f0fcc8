/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Queue limits of the device. Layer 8, below target.
 */
#ifndef QCOW2_LIMITS_H
#define QCOW2_LIMITS_H

#include "target.h"

/* The target's io_hints. */
void qcow2_limits_hints(struct dm_target *ti, struct queue_limits *limits);
/*
 * resume: for images on files set the limits ourselves. Device-mapper reports
 * no device below them, so its core keeps what the table before this one had
 * (rules.md 14).
 */
void qcow2_limits_apply(struct qcow2_target *t);

#endif
