/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/* static_assert() with an optional message, as the kernel has it. */
#ifndef QCOW2_KCOMPAT_LINUX_BUILD_BUG_H
#define QCOW2_KCOMPAT_LINUX_BUILD_BUG_H

#undef static_assert
#define static_assert(expr, ...)	kcompat_assert(expr, ##__VA_ARGS__, #expr)
#define kcompat_assert(expr, msg, ...)	_Static_assert(expr, msg)

#endif
