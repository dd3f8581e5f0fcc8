/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/* ARRAY_SIZE(); the C library's <sys/sysinfo.h> wants the original as well. */
#ifndef QCOW2_KCOMPAT_LINUX_KERNEL_H
#define QCOW2_KCOMPAT_LINUX_KERNEL_H

#include_next <linux/kernel.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#endif

#endif
