/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What every room of the module shares: the message prefix, forward
 * declarations, and the counters that status prints. Nothing else.
 */
#ifndef DM_QCOW2_H
#define DM_QCOW2_H

#include <linux/device-mapper.h>
#include <linux/percpu.h>
#include "compat.h"

#ifdef DM_MSG_PREFIX
#undef DM_MSG_PREFIX
#endif
#define DM_MSG_PREFIX "qcow2"

struct qcow2_backend;
struct qcow2_cache;
struct qcow2_chain;
struct qcow2_image;

#endif
