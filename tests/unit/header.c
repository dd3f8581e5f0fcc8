// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The fixed header: versions, lengths, features, the backing file's place, and
 * the way back to bytes. The tables have a file of their own.
 */
#include <errno.h>
#include <string.h>
#include "format.h"
#include "geometry.h"
#include "harness.h"
#include "sample.h"

TEST(header_every_verdict_has_a_text_and_an_errno)
{
	for (int verdict = QCOW2_OK + 1; verdict < QCOW2_NR_VERDICTS; verdict++) {
		int err = qcow2_verdict_errno(verdict);

		test_note("verdict %d", verdict);
		EXPECT(qcow2_verdict_text(verdict));
		EXPECT(strlen(qcow2_verdict_text(verdict)) > 10);
		EXPECT(err == EINVAL || err == EUCLEAN || err == EOPNOTSUPP ||
		       err == EFBIG);
		/* A fragment, for a sentence that someone else begins. */
		EXPECT(!strchr(qcow2_verdict_text(verdict), '\n'));
		EXPECT(!strchr(qcow2_verdict_text(verdict), '%'));
	}
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_OK), 0);
}

TEST(header_verdicts_out_of_range_are_answered)
{
	EXPECT_STR(qcow2_verdict_text(QCOW2_NR_VERDICTS), "unknown verdict");
	EXPECT_STR(qcow2_verdict_text((enum qcow2_verdict)-1), "unknown verdict");
	EXPECT_STR(qcow2_verdict_text((enum qcow2_verdict)1000), "unknown verdict");
	EXPECT_EQ(qcow2_verdict_errno((enum qcow2_verdict)-1), EUCLEAN);
}

TEST(header_errnos_tell_the_four_classes_apart)
{
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_NOT_QCOW2), EINVAL);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_HEADER_TRUNCATED), EUCLEAN);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_L1_UNALIGNED), EUCLEAN);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_BAD_VERSION), EOPNOTSUPP);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_UNKNOWN_INCOMPATIBLE), EOPNOTSUPP);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_COMPRESSION_UNKNOWN), EOPNOTSUPP);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_BAD_CRYPT_METHOD), EOPNOTSUPP);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_L1_TOO_LARGE), EFBIG);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_REFTABLE_TOO_LARGE), EFBIG);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_SNAPSHOTS_TOO_MANY), EFBIG);
	EXPECT_EQ(qcow2_verdict_errno(QCOW2_SNAPSHOT_EXTRA), EFBIG);
}

TEST(header_version_3_is_decoded_field_by_field)
{
	struct qcow2_header_disk disk = sample(3);
	struct qcow2_header h;

	PUT(disk.backing_file_offset, 0x1234);
	PUT(disk.backing_file_size, 77);
	PUT(disk.crypt_method, 2);
	PUT(disk.l1_size, 0x12345);
	PUT(disk.l1_table_offset, 0x1122334450000ULL);
	PUT(disk.refcount_table_offset, 0x99aabbccdd0000ULL);
	PUT(disk.refcount_table_clusters, 0x7f);
	PUT(disk.nb_snapshots, 0xfedc);
	PUT(disk.snapshots_offset, 0x77665544330000ULL);
	PUT(disk.incompatible_features, 0x1f);
	PUT(disk.compatible_features, 0x0123456789abcdefULL);
	PUT(disk.autoclear_features, 0xfedcba9876543213ULL);
	PUT(disk.refcount_order, 6);
	PUT(disk.header_length, 0x1220);
	disk.compression_type = 1;
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	EXPECT_EQ(h.version, 3);
	EXPECT_EQ(h.cluster_bits, 16);
	EXPECT_EQ(h.size, GIB);
	EXPECT_EQ(h.backing_file.offset, 0x1234);
	EXPECT_EQ(h.backing_file.length, 77);
	EXPECT_EQ(h.crypt_method, QCOW2_CRYPT_LUKS);
	EXPECT_EQ(h.l1_size, 0x12345);
	EXPECT_EQ(h.l1_table_offset, 0x1122334450000ULL);
	EXPECT_EQ(h.refcount_table_offset, 0x99aabbccdd0000ULL);
	EXPECT_EQ(h.refcount_table_clusters, 0x7f);
	EXPECT_EQ(h.nb_snapshots, 0xfedc);
	EXPECT_EQ(h.snapshots_offset, 0x77665544330000ULL);
	EXPECT_EQ(h.incompatible_features, 0x1f);
	EXPECT_EQ(h.compatible_features, 0x0123456789abcdefULL);
	EXPECT_EQ(h.autoclear_features, 0xfedcba9876543213ULL);
	EXPECT_EQ(h.refcount_order, 6);
	EXPECT_EQ(h.header_length, 0x1220);
	EXPECT_EQ(h.compression_type, QCOW2_COMPRESSION_ZSTD);
}

TEST(header_version_2_implies_the_fields_it_lacks)
{
	struct qcow2_header_disk disk = sample(2);
	struct qcow2_header h;

	/* In version 2 these bytes are extensions and names: garbage here. */
	memset((char *)&disk + 72, 0xff, sizeof(disk) - 72);
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	EXPECT_EQ(h.version, 2);
	EXPECT_EQ(h.incompatible_features, 0);
	EXPECT_EQ(h.compatible_features, 0);
	EXPECT_EQ(h.autoclear_features, 0);
	EXPECT_EQ(h.refcount_order, 4);
	EXPECT_EQ(h.header_length, 72);
	EXPECT_EQ(h.compression_type, QCOW2_COMPRESSION_DEFLATE);
}

TEST(header_is_found_by_its_magic)
{
	struct qcow2_header h;

	EXPECT_VERDICT(WITH(3, magic, 0x514649fa), QCOW2_NOT_QCOW2);
	EXPECT_VERDICT(WITH(3, magic, 0xfb494651), QCOW2_NOT_QCOW2);
	EXPECT_VERDICT(WITH(3, magic, 0), QCOW2_NOT_QCOW2);
	EXPECT_VERDICT(qcow2_header_decode(test_buffer(NULL, 0), 0, &h),
		       QCOW2_NOT_QCOW2);
}

TEST(header_of_any_length_is_read_no_further)
{
	struct qcow2_header_disk v2 = sample(2), v3 = sample(3);
	struct qcow2_header h;

	for (size_t len = 0; len <= sizeof(v3); len++) {
		test_note("length %zu", len);
		EXPECT_VERDICT(decode_len(&v2, len, &h),
			       len < 4 ? QCOW2_NOT_QCOW2 :
			       len < 72 ? QCOW2_HEADER_TRUNCATED : QCOW2_OK);
		/* header_length is 112, so the byte at 104 is wanted too */
		EXPECT_VERDICT(decode_len(&v3, len, &h),
			       len < 4 ? QCOW2_NOT_QCOW2 :
			       len < 105 ? QCOW2_HEADER_TRUNCATED : QCOW2_OK);
	}
	PUT(v3.header_length, 104);
	EXPECT_VERDICT(decode_len(&v3, 104, &h), QCOW2_OK);
	EXPECT_VERDICT(decode_len(&v3, 103, &h), QCOW2_HEADER_TRUNCATED);
}

TEST(header_of_other_versions_is_refused)
{
	EXPECT_VERDICT(WITH(3, version, 0), QCOW2_BAD_VERSION);
	EXPECT_VERDICT(WITH(3, version, 1), QCOW2_BAD_VERSION);
	EXPECT_VERDICT(WITH(3, version, 4), QCOW2_BAD_VERSION);
	EXPECT_VERDICT(WITH(3, version, 0x02000000), QCOW2_BAD_VERSION);
	EXPECT_VERDICT(WITH(3, version, 0xffffffff), QCOW2_BAD_VERSION);
}

TEST(header_cluster_bits_are_9_to_21)
{
	for (unsigned int bits = 0; bits < 70; bits++) {
		struct qcow2_header_disk disk = sample_bits(bits);

		test_note("cluster_bits %u", bits);
		EXPECT_VERDICT(decode(&disk), bits < 9 || bits > 21 ?
			       QCOW2_BAD_CLUSTER_BITS : QCOW2_OK);
	}
	EXPECT_VERDICT(WITH(3, cluster_bits, 0xffffffff), QCOW2_BAD_CLUSTER_BITS);
	EXPECT_VERDICT(WITH(3, cluster_bits, 0x100 + 16), QCOW2_BAD_CLUSTER_BITS);
}

TEST(header_length_is_104_up_to_a_cluster)
{
	struct qcow2_header_disk disk = sample_bits(9);

	EXPECT_VERDICT(WITH(3, header_length, 0), QCOW2_BAD_HEADER_LENGTH);
	EXPECT_VERDICT(WITH(3, header_length, 72), QCOW2_BAD_HEADER_LENGTH);
	EXPECT_VERDICT(WITH(3, header_length, 103), QCOW2_BAD_HEADER_LENGTH);
	EXPECT_VERDICT(WITH(3, header_length, 104), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, header_length, 105), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, header_length, 65536), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, header_length, 65537), QCOW2_BAD_HEADER_LENGTH);
	EXPECT_VERDICT(WITH(3, header_length, 0xffffffff), QCOW2_BAD_HEADER_LENGTH);
	PUT(disk.header_length, 512);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
	PUT(disk.header_length, 513);
	EXPECT_VERDICT(decode(&disk), QCOW2_BAD_HEADER_LENGTH);
}

TEST(header_size_is_rounded_down_to_a_sector)
{
	struct qcow2_header_disk disk = sample(3);
	struct qcow2_header h;

	PUT(disk.size, 512 * 7 + 511);
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	EXPECT_EQ(h.size, 512 * 7);
	PUT(disk.size, 511);
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	EXPECT_EQ(h.size, 0);
}

TEST(header_crypt_method_is_none_aes_or_luks)
{
	EXPECT_VERDICT(WITH(3, crypt_method, 1), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, crypt_method, 2), QCOW2_OK);
	EXPECT_VERDICT(WITH(2, crypt_method, 1), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, crypt_method, 3), QCOW2_BAD_CRYPT_METHOD);
	EXPECT_VERDICT(WITH(3, crypt_method, 0xffffffff), QCOW2_BAD_CRYPT_METHOD);
	EXPECT_VERDICT(WITH(2, crypt_method, 3), QCOW2_BAD_CRYPT_METHOD);
}

TEST(header_refcount_order_is_at_most_6)
{
	for (unsigned int order = 0; order <= 6; order++)
		EXPECT_VERDICT(WITH(3, refcount_order, order), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, refcount_order, 7), QCOW2_BAD_REFCOUNT_ORDER);
	EXPECT_VERDICT(WITH(3, refcount_order, 64), QCOW2_BAD_REFCOUNT_ORDER);
	EXPECT_VERDICT(WITH(3, refcount_order, 0xffffffff),
		       QCOW2_BAD_REFCOUNT_ORDER);
}

TEST(header_backing_name_lies_in_the_first_cluster)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.backing_file_offset, 65536);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);	/* empty, at the end */
	PUT(disk.backing_file_size, 1);
	EXPECT_VERDICT(decode(&disk), QCOW2_BACKING_SIZE);
	PUT(disk.backing_file_offset, 65535);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
	PUT(disk.backing_file_size, 2);
	EXPECT_VERDICT(decode(&disk), QCOW2_BACKING_SIZE);
	PUT(disk.backing_file_offset, 65537);
	EXPECT_VERDICT(decode(&disk), QCOW2_BACKING_OFFSET);
	PUT(disk.backing_file_offset, 0x100000000ULL);
	EXPECT_VERDICT(decode(&disk), QCOW2_BACKING_OFFSET);
	PUT(disk.backing_file_offset, ~0ULL);
	EXPECT_VERDICT(decode(&disk), QCOW2_BACKING_OFFSET);
}

TEST(header_backing_name_is_at_most_1023_bytes)
{
	struct qcow2_header_disk disk = sample(3), small = sample_bits(9);

	PUT(disk.backing_file_offset, 1024);
	PUT(disk.backing_file_size, 1023);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
	PUT(disk.backing_file_size, 1024);
	EXPECT_VERDICT(decode(&disk), QCOW2_BACKING_SIZE);
	PUT(disk.backing_file_size, 0xffffffff);
	EXPECT_VERDICT(decode(&disk), QCOW2_BACKING_SIZE);
	PUT(small.backing_file_offset, 200);
	PUT(small.backing_file_size, 312);
	EXPECT_VERDICT(decode(&small), QCOW2_OK);
	PUT(small.backing_file_size, 313);
	EXPECT_VERDICT(decode(&small), QCOW2_BACKING_SIZE);
}

TEST(header_backing_size_without_offset_means_nothing)
{
	struct qcow2_header_disk disk = sample(3);
	struct qcow2_header h;

	PUT(disk.backing_file_size, 0xffffffff);
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	EXPECT_EQ(h.backing_file.length, 0);
}

TEST(header_unknown_incompatible_bits_are_refused_one_by_one)
{
	for (unsigned int bit = 5; bit < 64; bit++)
		EXPECT_VERDICT(WITH(3, incompatible_features, 1ULL << bit),
			       QCOW2_UNKNOWN_INCOMPATIBLE);
}

TEST(header_unknown_incompatible_bits_leave_the_names_findable)
{
	struct qcow2_header_disk disk = sample(3);
	struct qcow2_header h;

	/* such a feature may change the meaning of all that follows */
	PUT(disk.incompatible_features, 1ULL << 40);
	PUT(disk.refcount_order, 99);
	PUT(disk.l1_table_offset, 3);
	PUT(disk.backing_file_offset, 600);
	PUT(disk.backing_file_size, 10);
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h),
		       QCOW2_UNKNOWN_INCOMPATIBLE);
	EXPECT_EQ(h.incompatible_features, 1ULL << 40);
	EXPECT_EQ(h.cluster_bits, 16);
	EXPECT_EQ(h.header_length, 112);
	EXPECT_EQ(h.backing_file.offset, 600);
	PUT(disk.header_length, 65537);
	EXPECT_VERDICT(decode(&disk), QCOW2_BAD_HEADER_LENGTH);
}

TEST(header_known_incompatible_bits_are_accepted)
{
	EXPECT_VERDICT(WITH(3, incompatible_features, 1), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, incompatible_features, 2), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, incompatible_features, 4), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, incompatible_features, 7), QCOW2_OK);
}

TEST(header_compatible_and_autoclear_bits_are_never_refused)
{
	EXPECT_VERDICT(WITH(3, compatible_features, ~0ULL), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, autoclear_features, ~2ULL), QCOW2_OK);
}

TEST(header_raw_data_file_needs_a_data_file)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.autoclear_features, QCOW2_AUTOCLEAR_DATA_FILE_RAW);
	EXPECT_VERDICT(decode(&disk), QCOW2_RAW_WITHOUT_DATA_FILE);
	PUT(disk.incompatible_features, QCOW2_INCOMPAT_DATA_FILE);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
}

TEST(header_compression_type_and_bit_agree)
{
	struct qcow2_header_disk disk = sample(3);

	disk.compression_type = 1;
	EXPECT_VERDICT(decode(&disk), QCOW2_COMPRESSION_MISMATCH);
	PUT(disk.incompatible_features, QCOW2_INCOMPAT_COMPRESSION);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
	disk.compression_type = 0;
	EXPECT_VERDICT(decode(&disk), QCOW2_COMPRESSION_MISMATCH);
	disk.compression_type = 2;
	EXPECT_VERDICT(decode(&disk), QCOW2_COMPRESSION_UNKNOWN);
	disk.compression_type = 255;
	EXPECT_VERDICT(decode(&disk), QCOW2_COMPRESSION_UNKNOWN);
}

TEST(header_compression_type_is_absent_from_a_short_header)
{
	struct qcow2_header_disk disk = sample(3);

	disk.compression_type = 1;
	PUT(disk.header_length, 104);	/* the byte is no field then */
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
	PUT(disk.incompatible_features, QCOW2_INCOMPAT_COMPRESSION);
	EXPECT_VERDICT(decode(&disk), QCOW2_COMPRESSION_MISMATCH);
	PUT(disk.header_length, 105);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
}

TEST(header_extended_l2_needs_clusters_of_16_kib)
{
	for (unsigned int bits = 9; bits <= 21; bits++) {
		struct qcow2_header_disk disk = sample_bits(bits);

		test_note("cluster_bits %u", bits);
		PUT(disk.incompatible_features, QCOW2_INCOMPAT_EXTENDED_L2);
		EXPECT_VERDICT(decode(&disk), bits < 14 ?
			       QCOW2_SUBCLUSTER_TOO_SMALL : QCOW2_OK);
	}
}

TEST(header_encode_gives_back_the_bytes)
{
	struct qcow2_header_disk disk = sample(3), again;
	struct qcow2_header h;

	PUT(disk.backing_file_offset, 0x1234);
	PUT(disk.backing_file_size, 77);
	PUT(disk.size, GIB - 512);
	PUT(disk.crypt_method, 2);
	PUT(disk.l1_table_offset, 0x1122334450000ULL);
	PUT(disk.nb_snapshots, 0xfedc);
	PUT(disk.snapshots_offset, 0x77665544330000ULL);
	PUT(disk.incompatible_features, 0x0f);
	PUT(disk.compatible_features, 0x0123456789abcdefULL);
	PUT(disk.autoclear_features, 0xfedcba9876543213ULL);
	PUT(disk.refcount_order, 5);
	disk.compression_type = 1;
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	EXPECT_EQ(qcow2_header_encode(&h, &again), 112);
	EXPECT(!memcmp(&disk, &again, sizeof(disk)));

	PUT(disk.header_length, 4096);	/* unknown fields stay the caller's */
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	EXPECT_EQ(qcow2_header_encode(&h, &again), 112);
	EXPECT(!memcmp(&disk, &again, sizeof(disk)));
}

TEST(header_encode_stays_within_a_short_header)
{
	struct qcow2_header_disk disk = sample(3), again;
	struct qcow2_header h;

	PUT(disk.header_length, 104);
	disk.compression_type = 0x68;	/* first byte of an extension */
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	EXPECT_EQ(qcow2_header_encode(&h, &again), 104);
	EXPECT(!memcmp(&disk, &again, 104));
	EXPECT_EQ(again.compression_type, 0);
}

TEST(header_encode_of_version_2_ends_after_72_bytes)
{
	struct qcow2_header_disk disk = sample(2), again;
	struct qcow2_header h;

	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	EXPECT_EQ(qcow2_header_encode(&h, &again), 72);
	EXPECT(!memcmp(&disk, &again, sizeof(disk)));
}

TEST(header_geometry_follows_the_features)
{
	struct qcow2_header_disk disk = sample(3);
	struct qcow2_geometry geo;
	struct qcow2_header h;

	PUT(disk.incompatible_features,
	    QCOW2_INCOMPAT_EXTENDED_L2 | QCOW2_INCOMPAT_DATA_FILE);
	PUT(disk.l1_size, 4);
	PUT(disk.refcount_order, 3);
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	qcow2_header_geometry(&h, &geo);
	EXPECT_EQ(geo.version, 3);
	EXPECT_EQ(geo.virtual_size, GIB);
	EXPECT_EQ(geo.cluster_size, 65536);
	EXPECT_EQ(geo.l2_bits, 12);
	EXPECT_EQ(geo.refblock_bits, 16);
	EXPECT(geo.extended_l2);
	EXPECT(geo.data_file);
	PUT(disk.incompatible_features, 0);
	EXPECT_VERDICT(decode_len(&disk, sizeof(disk), &h), QCOW2_OK);
	qcow2_header_geometry(&h, &geo);
	EXPECT(!geo.extended_l2);
	EXPECT(!geo.data_file);
}
