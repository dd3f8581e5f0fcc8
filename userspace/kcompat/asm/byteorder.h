/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/* The kernel's names for the big-endian conversions of the C library. */
#ifndef QCOW2_KCOMPAT_ASM_BYTEORDER_H
#define QCOW2_KCOMPAT_ASM_BYTEORDER_H

#include <endian.h>
#include <linux/types.h>

static inline u16 be16_to_cpu(__be16 value) { return be16toh((u16)value); }
static inline u32 be32_to_cpu(__be32 value) { return be32toh((u32)value); }
static inline u64 be64_to_cpu(__be64 value) { return be64toh((u64)value); }
static inline __be16 cpu_to_be16(u16 value) { return (__be16)htobe16(value); }
static inline __be32 cpu_to_be32(u32 value) { return (__be32)htobe32(value); }
static inline __be64 cpu_to_be64(u64 value) { return (__be64)htobe64(value); }

#endif
