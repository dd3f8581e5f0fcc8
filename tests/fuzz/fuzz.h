/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What the fuzz targets share: a condition that must hold whatever the input is.
 *
 * A target's input is a copy of exactly its length that libFuzzer made, so the
 * address sanitizer sees a read of one byte too many.
 */
#ifndef QCOW2_FUZZ_H
#define QCOW2_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "format.h"
#include "geometry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)								\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: does not hold: %s\n",		\
				__FILE__, __LINE__, #condition);		\
			abort();						\
		}								\
	} while (0)

static inline bool aligned(const struct qcow2_geometry *geo, u64 hoff)
{
	return !(hoff % geo->cluster_size);
}

/* Every verdict has words, and every one but QCOW2_OK an errno. */
static inline void verdict_holds(enum qcow2_verdict verdict)
{
	MUST((unsigned int)verdict < QCOW2_NR_VERDICTS);
	MUST(*qcow2_verdict_text(verdict));
	MUST(!qcow2_verdict_errno(verdict) == (verdict == QCOW2_OK));
}

#endif
