/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/* Single bits and runs of bits; the kernel's macros, without its checks. */
#ifndef QCOW2_KCOMPAT_LINUX_BITS_H
#define QCOW2_KCOMPAT_LINUX_BITS_H

#define BIT_ULL(nr)		(1ULL << (nr))
#define GENMASK_ULL(high, low)	((~0ULL << (low)) & (~0ULL >> (63 - (high))))

#endif
