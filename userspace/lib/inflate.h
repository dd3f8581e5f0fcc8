/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Compressed clusters, by zlib and libzstd.
 */
#ifndef QCOW2CTL_INFLATE_H
#define QCOW2CTL_INFLATE_H

#include <stdbool.h>
#include <linux/types.h>

/*
 * @size bytes to @to from the @len bytes at @from, which may be followed by
 * anything. @type is the header's compression_type. False if they are damaged.
 */
bool inflate_cluster(u8 type, const void *from, u32 len, void *to, u32 size);

#endif
