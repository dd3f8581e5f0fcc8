// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What every verdict says and which errno it means.
 *
 * The module turns a verdict into ti->error or a log line, the tool into a
 * message and an exit code; both take the words from here, so that an image is
 * refused with the same sentence everywhere.
 */
#include <linux/types.h>
#include <linux/errno.h>
#include "format.h"

static const struct verdict {
	int err;
	const char *text;
} verdicts[QCOW2_NR_VERDICTS + 1] = {
	[QCOW2_OK] = { 0, "no error" },
	[QCOW2_NOT_QCOW2] = { EINVAL, "not a qcow2 image" },
	[QCOW2_HEADER_TRUNCATED] = { EUCLEAN, "file ends inside the header" },
	[QCOW2_BAD_VERSION] = { EOPNOTSUPP, "version is neither 2 nor 3" },
	[QCOW2_BAD_CLUSTER_BITS] = { EUCLEAN, "cluster_bits is not in 9..21" },
	[QCOW2_BAD_HEADER_LENGTH] = { EUCLEAN,
		"header_length is below 104 or above the cluster size" },
	[QCOW2_BAD_REFCOUNT_ORDER] = { EUCLEAN, "refcount_order is above 6" },
	[QCOW2_BAD_CRYPT_METHOD] = { EOPNOTSUPP, "crypt_method is unknown" },
	[QCOW2_BAD_SIZE] = { EFBIG, "size needs an L1 table above 32 MiB" },
	[QCOW2_L1_TOO_SMALL] = { EUCLEAN, "l1_size does not cover the size" },
	[QCOW2_L1_TOO_LARGE] = { EFBIG, "l1_size exceeds 32 MiB of entries" },
	[QCOW2_L1_UNALIGNED] = { EUCLEAN,
		"l1_table_offset is not cluster aligned" },
	[QCOW2_L1_RANGE] = { EUCLEAN, "l1_table_offset leads beyond 2^56" },
	[QCOW2_REFTABLE_EMPTY] = { EUCLEAN, "refcount_table_clusters is 0" },
	[QCOW2_REFTABLE_TOO_LARGE] = { EFBIG,
		"refcount_table_clusters exceeds 8 MiB" },
	[QCOW2_REFTABLE_UNALIGNED] = { EUCLEAN,
		"refcount_table_offset is not cluster aligned" },
	[QCOW2_REFTABLE_RANGE] = { EUCLEAN,
		"refcount_table_offset leads beyond 2^56" },
	[QCOW2_SNAPSHOTS_TOO_MANY] = { EFBIG, "nb_snapshots is above 65536" },
	[QCOW2_SNAPSHOTS_UNALIGNED] = { EUCLEAN,
		"snapshots_offset is not cluster aligned" },
	[QCOW2_SNAPSHOTS_RANGE] = { EUCLEAN,
		"snapshots_offset leads beyond 2^56" },
	[QCOW2_BACKING_OFFSET] = { EUCLEAN,
		"backing_file_offset is beyond the first cluster" },
	[QCOW2_BACKING_SIZE] = { EUCLEAN,
		"backing_file_size is above 1023 or leaves the first cluster" },
	[QCOW2_UNKNOWN_INCOMPATIBLE] = { EOPNOTSUPP,
		"incompatible_features has unknown bits" },
	[QCOW2_COMPRESSION_MISMATCH] = { EUCLEAN,
		"compression_type contradicts incompatible feature bit 3" },
	[QCOW2_COMPRESSION_UNKNOWN] = { EOPNOTSUPP,
		"compression_type is unknown" },
	[QCOW2_SUBCLUSTER_TOO_SMALL] = { EUCLEAN,
		"extended L2 entries need cluster_bits of 14 or more" },
	[QCOW2_RAW_WITHOUT_DATA_FILE] = { EUCLEAN,
		"autoclear feature bit 1 (raw data file) without a data file" },
	[QCOW2_EXT_RANGE] = { EUCLEAN,
		"header extension leaves the header area" },
	[QCOW2_EXT_BACKING_FORMAT_SIZE] = { EUCLEAN,
		"backing format extension is longer than 15 bytes" },
	[QCOW2_EXT_BITMAPS_SIZE] = { EUCLEAN,
		"bitmaps extension is not 24 bytes long" },
	[QCOW2_EXT_BITMAPS_VALUES] = { EUCLEAN,
		"bitmaps extension has impossible values" },
	[QCOW2_EXT_CRYPTO_SIZE] = { EUCLEAN,
		"encryption extension is not 16 bytes long" },
	[QCOW2_EXT_CRYPTO_VALUES] = { EUCLEAN,
		"encryption extension has impossible values" },
	[QCOW2_EXT_CRYPTO_MISMATCH] = { EUCLEAN,
		"crypt_method and encryption extension contradict each other" },
	[QCOW2_EXT_DATA_FILE_SIZE] = { EFBIG,
		"data file name is longer than 4095 bytes" },
	[QCOW2_TABLES_OVERLAP] = { EUCLEAN,
		"header, l1_table, refcount_table and snapshots overlap" },
	[QCOW2_L1_ENTRY_RESERVED] = { EUCLEAN, "reserved bits are set" },
	[QCOW2_L1_ENTRY_UNALIGNED] = { EUCLEAN,
		"L2 table offset is not cluster aligned" },
	[QCOW2_L1_ENTRY_COPIED_EMPTY] = { EUCLEAN,
		"COPIED is set without an L2 table" },
	[QCOW2_L1_ENTRY_RANGE] = { EUCLEAN,
		"L2 table lies beyond the end of the image" },
	[QCOW2_L2_ENTRY_RANGE] = { EUCLEAN,
		"data lies beyond the end of the image" },
	[QCOW2_L2_ENTRY_METADATA] = { EUCLEAN, "data lies in metadata" },
	[QCOW2_L2_ENTRY_RESERVED] = { EUCLEAN, "reserved bits are set" },
	[QCOW2_L2_ENTRY_UNALIGNED] = { EUCLEAN,
		"host offset is not cluster aligned" },
	[QCOW2_L2_ENTRY_ZERO_V2] = { EUCLEAN,
		"zero flag is set in a version 2 image" },
	[QCOW2_L2_ENTRY_SUBCLUSTERS] = { EUCLEAN,
		"subcluster bitmap contradicts itself or the host offset" },
	[QCOW2_L2_ENTRY_COMPRESSED] = { EUCLEAN,
		"compressed cluster is marked COPIED or leads beyond 2^56" },
	[QCOW2_L2_ENTRY_DATA_FILE] = { EUCLEAN,
		"data file cluster is compressed or not at its guest offset" },
	[QCOW2_REFTABLE_ENTRY_RESERVED] = { EUCLEAN, "reserved bits are set" },
	[QCOW2_REFTABLE_ENTRY_UNALIGNED] = { EUCLEAN,
		"refcount block offset is not cluster aligned" },
	[QCOW2_REFTABLE_ENTRY_RANGE] = { EUCLEAN,
		"refcount block offset is beyond 2^56" },
	[QCOW2_SNAPSHOT_RANGE] = { EUCLEAN,
		"snapshot table ends inside an entry" },
	[QCOW2_SNAPSHOT_EXTRA] = { EFBIG,
		"snapshot has more than 1024 bytes of extra data" },
	[QCOW2_SNAPSHOT_TABLE_TOO_LARGE] = { EFBIG,
		"snapshot table exceeds 64 MiB" },
	[QCOW2_SNAPSHOT_L1] = { EUCLEAN,
		"snapshot has an impossible L1 table" },
	[QCOW2_BITMAP_RANGE] = { EUCLEAN,
		"bitmap directory ends inside an entry" },
	[QCOW2_BITMAP_VALUES] = { EUCLEAN,
		"bitmap directory entry has impossible values" },
	[QCOW2_NR_VERDICTS] = { EUCLEAN, "unknown verdict" },
};

static const struct verdict *verdict_lookup(enum qcow2_verdict verdict)
{
	if ((unsigned int)verdict > QCOW2_NR_VERDICTS)
		verdict = QCOW2_NR_VERDICTS;
	return &verdicts[verdict];
}

const char *qcow2_verdict_text(enum qcow2_verdict verdict)
{
	return verdict_lookup(verdict)->text;
}

int qcow2_verdict_errno(enum qcow2_verdict verdict)
{
	return verdict_lookup(verdict)->err;
}
