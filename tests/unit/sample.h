/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/* Headers that are right, for tests that break one field at a time. */
#ifndef QCOW2_TEST_SAMPLE_H
#define QCOW2_TEST_SAMPLE_H

#include <string.h>
#include "format.h"
#include "harness.h"

#define MIB	BIT_ULL(20)
#define GIB	BIT_ULL(30)

/* 1 GiB in 64 KiB clusters, as QEMU lays it out. */
static inline struct qcow2_header_disk sample(unsigned int version)
{
	struct qcow2_header_disk disk;

	memset(&disk, 0, sizeof(disk));
	PUT(disk.magic, QCOW2_MAGIC);
	PUT(disk.version, version);
	PUT(disk.cluster_bits, 16);
	PUT(disk.size, GIB);
	PUT(disk.l1_size, 2);
	PUT(disk.l1_table_offset, 0x30000);
	PUT(disk.refcount_table_offset, 0x10000);
	PUT(disk.refcount_table_clusters, 1);
	if (version < 3)
		return disk;
	PUT(disk.refcount_order, 4);
	PUT(disk.header_length, 112);
	return disk;
}

/* The same in clusters of any size; tables at 2^40, 2^41 and so on. */
static inline struct qcow2_header_disk sample_bits(unsigned int bits)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.cluster_bits, bits);
	PUT(disk.size, 512);
	PUT(disk.l1_size, 1);
	PUT(disk.l1_table_offset, 1ULL << 40);
	PUT(disk.refcount_table_offset, 1ULL << 41);
	return disk;
}

static inline enum qcow2_verdict
decode_len(const struct qcow2_header_disk *disk, size_t len,
	   struct qcow2_header *h)
{
	return qcow2_header_decode(test_buffer(disk, len), len, h);
}

static inline enum qcow2_verdict decode(const struct qcow2_header_disk *disk)
{
	struct qcow2_header h;

	return decode_len(disk, sizeof(*disk), &h);
}

/* What the verdict is with one field changed. */
#define WITH(version, field, value)					\
	({								\
		struct qcow2_header_disk with_ = sample(version);	\
									\
		test_note("%s = %#llx", #field,				\
			  (unsigned long long)(value));			\
		PUT(with_.field, value);				\
		decode(&with_);						\
	})

#endif
