/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/* memcpy() and its like come from the C library. */
#ifndef QCOW2_KCOMPAT_LINUX_STRING_H
#define QCOW2_KCOMPAT_LINUX_STRING_H

#include <string.h>

#endif
