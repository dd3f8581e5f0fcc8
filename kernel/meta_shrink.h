/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The machine is short of memory: caches give slices back.
 *
 * Layer 2, below meta.c.
 */
#ifndef QCOW2_META_SHRINK_H
#define QCOW2_META_SHRINK_H

#include "meta.h"

int qcow2_meta_shrink_init(void);
void qcow2_meta_shrink_exit(void);

/* From add to remove @cache may lose slices at any time. Both sleep, and allocate nothing. */
void qcow2_meta_shrink_add(struct qcow2_cache *cache);
void qcow2_meta_shrink_remove(struct qcow2_cache *cache);
/*
 * In between no cache loses anything, and nothing that one has lost is on its
 * way. No memory is allocated there.
 */
void qcow2_meta_shrink_pause(void);
void qcow2_meta_shrink_go_on(void);

#endif
