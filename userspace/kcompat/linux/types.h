/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The kernel's integer names on top of the ones that the C library's copy of
 * <linux/types.h> has (__u32, __be64 and their like).
 */
#ifndef QCOW2_KCOMPAT_LINUX_TYPES_H
#define QCOW2_KCOMPAT_LINUX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include_next <linux/types.h>

#ifndef __packed
#define __packed __attribute__((__packed__))
#endif

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#endif
