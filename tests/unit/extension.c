// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The extensions behind the header, and the names of features.
 */
#include <string.h>
#include "format.h"
#include "harness.h"
#include "sample.h"

/* Cluster 0: a header, and what add() puts behind it. */
struct area {
	u8 *cluster;
	u32 size, pos;
	struct qcow2_header h;
};

static struct area area_of(const struct qcow2_header_disk *disk, u32 bits)
{
	struct area area = { .size = 1U << bits };

	EXPECT_VERDICT(decode_len(disk, sizeof(*disk), &area.h), QCOW2_OK);
	area.cluster = test_buffer(NULL, area.size);
	memcpy(area.cluster, disk, sizeof(*disk));
	area.pos = area.h.header_length;
	return area;
}

static struct area area(u32 bits)
{
	struct qcow2_header_disk disk = sample_bits(bits);

	return area_of(&disk, bits);
}

/* The offset of the data. */
static u32 add(struct area *area, u32 type, const void *data, u32 length)
{
	struct qcow2_extension_disk *disk = (void *)(area->cluster + area->pos);
	u32 at = area->pos + sizeof(*disk);

	PUT(disk->type, type);
	PUT(disk->length, length);
	if (data)
		memcpy(area->cluster + at, data, length);
	area->pos = at + (length + 7) / 8 * 8;
	return at;
}

/* All that is known of the first @len bytes; h has what was found. */
static enum qcow2_verdict parse_len(struct area *area, u32 len)
{
	return qcow2_header_extensions(test_buffer(area->cluster, len), len, &area->h);
}

static enum qcow2_verdict parse(struct area *area)
{
	return parse_len(area, area->size);
}

TEST(extension_list_may_be_empty)
{
	struct area a = area(9);
	struct qcow2_string data;
	u32 pos = 0, type;

	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	EXPECT_EQ(a.h.backing_format.length, 0);
	EXPECT_EQ(a.h.data_file.length, 0);
	EXPECT_EQ(a.h.feature_names.length, 0);
	EXPECT(!a.h.has_bitmaps);
	EXPECT_EQ(a.h.crypto_offset, 0);
	EXPECT(!qcow2_extension_next(a.cluster, a.size, &a.h, &pos, &type, &data));
}

TEST(extension_of_every_type_is_found)
{
	static const u32 types[] = { QCOW2_EXT_BACKING_FORMAT, 0x12345678, QCOW2_EXT_FEATURE_NAMES,
				     QCOW2_EXT_DATA_FILE };
	static const u32 lengths[] = { 3, 11, 96, 8 };
	struct area a = area(9);
	struct qcow2_string data;
	u32 at[4], i, pos = 0, type;

	for (i = 0; i < 4; i++)
		at[i] = add(&a, types[i], NULL, lengths[i]);
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	EXPECT_EQ(a.h.backing_format.offset, at[0]);
	EXPECT_EQ(a.h.backing_format.length, 3);
	EXPECT_EQ(a.h.feature_names.offset, at[2]);
	EXPECT_EQ(a.h.feature_names.length, 96);
	EXPECT_EQ(a.h.data_file.offset, at[3]);
	EXPECT_EQ(a.h.data_file.length, 8);
	for (i = 0; i < 4; i++) {
		test_note("step %u", i);
		EXPECT(qcow2_extension_next(a.cluster, a.size, &a.h, &pos, &type, &data));
		EXPECT_EQ(type, types[i]);
		EXPECT_EQ(data.offset, at[i]);
		EXPECT_EQ(data.length, lengths[i]);
	}
	EXPECT(!qcow2_extension_next(a.cluster, a.size, &a.h, &pos, &type, &data));
}

TEST(extension_list_begins_behind_the_header_of_either_version)
{
	struct qcow2_header_disk disk = sample(2);
	struct area a;
	u32 at;

	memset((u8 *)&disk + 72, 0, sizeof(disk) - 72);
	a = area_of(&disk, 16);
	EXPECT_EQ(a.pos, 72);
	at = add(&a, QCOW2_EXT_BACKING_FORMAT, "raw", 3);
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	EXPECT_EQ(at, 80);
	EXPECT_EQ(a.h.backing_format.offset, at);
	disk = sample(3);
	PUT(disk.header_length, 120);	/* with a field that nobody knows */
	a = area_of(&disk, 16);
	at = add(&a, QCOW2_EXT_BACKING_FORMAT, "raw", 3);
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	EXPECT_EQ(at, 128);
	EXPECT_EQ(a.h.backing_format.offset, at);
}

TEST(extension_data_is_padded_to_8)
{
	for (u32 length = 0; length <= 17; length++) {
		struct area a = area(9);
		u32 at;

		test_note("length %u", length);
		add(&a, 0x12345678, NULL, length);
		at = add(&a, QCOW2_EXT_BACKING_FORMAT, "raw", 3);
		EXPECT_VERDICT(parse(&a), QCOW2_OK);
		EXPECT_EQ(a.h.backing_format.offset, at);
	}
}

TEST(extension_the_last_of_a_type_counts)
{
	struct area a = area(9);
	u32 at;

	add(&a, QCOW2_EXT_BACKING_FORMAT, "qcow2", 5);
	at = add(&a, QCOW2_EXT_BACKING_FORMAT, "raw", 3);
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	EXPECT_EQ(a.h.backing_format.offset, at);
	EXPECT_EQ(a.h.backing_format.length, 3);
}

TEST(extension_list_ends_with_its_end)
{
	struct area a = area(9);

	add(&a, QCOW2_EXT_END, NULL, 0);
	add(&a, QCOW2_EXT_BACKING_FORMAT, NULL, 16);
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	EXPECT_EQ(a.h.backing_format.length, 0);
}

TEST(extension_ends_with_the_cluster)
{
	static const u32 beyond[] = { 1, 0x10000, 0x7fffffff, 0xfffffff0, 0xfffffff8, 0xffffffff };
	struct area a = area(9);
	const u32 most = 512 - 112 - 8;

	add(&a, 0x12345678, NULL, most);
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	a = area(9);
	add(&a, 0x12345678, NULL, most - 1);	/* nothing but padding is left */
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	for (u32 i = 0; i < 6; i++) {
		a = area(9);
		add(&a, 0x12345678, NULL, beyond[i] > 0x10000 ? beyond[i] : most + beyond[i]);
		test_note("case %u", i);
		EXPECT_VERDICT(parse(&a), QCOW2_EXT_RANGE);
	}
	/* the end of the list may be missing, half of an extension may not */
	a = area(9);
	add(&a, 0x12345678, NULL, most - 8);
	PUT(a.cluster[a.pos + 3], 1);
	PUT(a.cluster[a.pos + 7], 1);
	EXPECT_VERDICT(parse(&a), QCOW2_EXT_RANGE);
}

/* Of a header whose backing file's name lies there. */
static struct area area_named(u32 offset, u32 size)
{
	struct qcow2_header_disk disk = sample_bits(9);

	PUT(disk.backing_file_offset, offset);
	PUT(disk.backing_file_size, size);
	return area_of(&disk, 9);
}

TEST(extension_ends_at_the_backing_file_name)
{
	struct area a = area_named(200, 4);

	add(&a, 0x12345678, NULL, 200 - 112 - 8);
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	a = area_named(200, 4);
	add(&a, 0x12345678, NULL, 200 - 112 - 7);
	EXPECT_VERDICT(parse(&a), QCOW2_EXT_RANGE);
	a = area_named(200, 4);
	add(&a, 0x12345678, NULL, 200 - 112 - 16);
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	a = area_named(196, 4);
	add(&a, 0x12345678, NULL, 200 - 112 - 16);	/* four bytes are no extension */
	EXPECT_VERDICT(parse(&a), QCOW2_EXT_RANGE);
}

TEST(extension_never_leaves_the_bytes_given)
{
	struct area a = area(9);
	u32 len;

	add(&a, QCOW2_EXT_BACKING_FORMAT, "qcow2", 5);
	add(&a, 0x12345678, NULL, 11);
	for (len = 112; len < a.pos + 8; len++) {
		test_note("%u bytes", len);
		EXPECT_VERDICT(parse_len(&a, len), QCOW2_EXT_RANGE);
	}
	EXPECT_VERDICT(parse_len(&a, len), QCOW2_OK);
	EXPECT_VERDICT(parse_len(&a, 0), QCOW2_EXT_RANGE);
}

TEST(extension_the_name_of_the_backing_file_is_there)
{
	struct area a = area_named(200, 30);

	EXPECT_VERDICT(parse_len(&a, 230), QCOW2_OK);
	EXPECT_VERDICT(parse_len(&a, 229), QCOW2_BACKING_SIZE);
	EXPECT_VERDICT(parse_len(&a, 200), QCOW2_BACKING_SIZE);
	EXPECT_VERDICT(parse_len(&a, 199), QCOW2_BACKING_SIZE);
}

/* What one extension with all bytes 0x61 is. */
static enum qcow2_verdict only(u32 type, u32 length)
{
	struct area a = area(16);

	test_note("type %#x length %u", type, length);
	memset(a.cluster + add(&a, type, NULL, length), 0x61, length);
	return parse(&a);
}

TEST(extension_backing_format_has_at_most_15_bytes)
{
	EXPECT_VERDICT(only(QCOW2_EXT_BACKING_FORMAT, 0), QCOW2_OK);
	EXPECT_VERDICT(only(QCOW2_EXT_BACKING_FORMAT, 15), QCOW2_OK);
	EXPECT_VERDICT(only(QCOW2_EXT_BACKING_FORMAT, 16), QCOW2_EXT_BACKING_FORMAT_SIZE);
}

TEST(extension_data_file_has_at_most_4095_bytes)
{
	EXPECT_VERDICT(only(QCOW2_EXT_DATA_FILE, 4095), QCOW2_OK);
	EXPECT_VERDICT(only(QCOW2_EXT_DATA_FILE, 4096), QCOW2_EXT_DATA_FILE_SIZE);
}

/* Bitmaps that are right but for one field; @autoclear vouches for them. */
#define BITMAPS(autoclear, field, value)				\
	({								\
		struct qcow2_header_disk disk_ = sample(3);		\
		struct qcow2_bitmaps_disk ext_ = { 0 };			\
									\
		test_note("%s = %#llx", #field, (unsigned long long)(value)); \
		PUT(disk_.autoclear_features, autoclear);		\
		PUT(ext_.nb_bitmaps, 2);				\
		PUT(ext_.directory_size, 80);				\
		PUT(ext_.directory_offset, 0x70000);			\
		PUT(ext_.field, value);					\
		a = area_of(&disk_, 16);				\
		add(&a, QCOW2_EXT_BITMAPS, &ext_, sizeof(ext_));	\
		parse(&a);						\
	})

TEST(extension_bitmaps_are_decoded)
{
	struct area a;

	EXPECT_VERDICT(BITMAPS(1, nb_bitmaps, 65535), QCOW2_OK);
	EXPECT(a.h.has_bitmaps);
	EXPECT_EQ(a.h.nb_bitmaps, 65535);
	EXPECT_EQ(a.h.bitmap_directory_size, 80);
	EXPECT_EQ(a.h.bitmap_directory_offset, 0x70000);
}

TEST(extension_bitmaps_have_values_within_the_limits)
{
	const u64 most = 1024ULL * 65535;
	struct area a;

	EXPECT_VERDICT(BITMAPS(1, nb_bitmaps, 0), QCOW2_EXT_BITMAPS_VALUES);
	EXPECT_VERDICT(BITMAPS(1, nb_bitmaps, 65536), QCOW2_EXT_BITMAPS_VALUES);
	EXPECT_VERDICT(BITMAPS(1, reserved, 1), QCOW2_EXT_BITMAPS_VALUES);
	EXPECT_VERDICT(BITMAPS(1, directory_size, 0), QCOW2_EXT_BITMAPS_VALUES);
	EXPECT_VERDICT(BITMAPS(1, directory_size, most), QCOW2_OK);
	EXPECT_VERDICT(BITMAPS(1, directory_size, most + 1), QCOW2_EXT_BITMAPS_VALUES);
	EXPECT_VERDICT(BITMAPS(1, directory_size, ~0ULL), QCOW2_EXT_BITMAPS_VALUES);
	EXPECT_VERDICT(BITMAPS(1, directory_offset, 0), QCOW2_EXT_BITMAPS_VALUES);
	for (u32 bit = 0; bit < 16; bit++)
		EXPECT_VERDICT(BITMAPS(1, directory_offset, 0x70000 | 1ULL << bit),
			       QCOW2_EXT_BITMAPS_VALUES);
	EXPECT_VERDICT(BITMAPS(1, directory_offset, QCOW2_MAX_HOFF - 0x10000), QCOW2_OK);
	EXPECT_VERDICT(BITMAPS(1, directory_offset, QCOW2_MAX_HOFF), QCOW2_EXT_BITMAPS_VALUES);
	EXPECT_VERDICT(BITMAPS(1, directory_offset, ~0xffffULL), QCOW2_EXT_BITMAPS_VALUES);
}

TEST(extension_bitmaps_are_stale_without_their_autoclear_bit)
{
	struct area a;

	EXPECT_VERDICT(BITMAPS(0, nb_bitmaps, 0), QCOW2_OK);
	EXPECT(!a.h.has_bitmaps);
	EXPECT_EQ(a.h.nb_bitmaps, 0);
	EXPECT_VERDICT(BITMAPS(1ULL << 40, reserved, 1), QCOW2_OK);
	EXPECT(!a.h.has_bitmaps);
}

TEST(extension_bitmaps_have_24_bytes)
{
	EXPECT_VERDICT(only(QCOW2_EXT_BITMAPS, 24), QCOW2_OK);	/* stale */
	EXPECT_VERDICT(only(QCOW2_EXT_BITMAPS, 23), QCOW2_EXT_BITMAPS_SIZE);
	EXPECT_VERDICT(only(QCOW2_EXT_BITMAPS, 25), QCOW2_EXT_BITMAPS_SIZE);
	EXPECT_VERDICT(only(QCOW2_EXT_BITMAPS, 0), QCOW2_EXT_BITMAPS_SIZE);
}

/* An encryption header there, of @size bytes as an extension. */
static enum qcow2_verdict crypto(u32 method, u64 offset, u64 length, u32 size)
{
	struct qcow2_header_disk disk = sample(3);
	struct qcow2_crypto_disk ext[2];
	struct area a;

	test_note("method %u offset %#llx length %#llx size %u", method,
		  (unsigned long long)offset, (unsigned long long)length, size);
	memset(ext, 0, sizeof(ext));
	PUT(disk.crypt_method, method);
	PUT(ext[0].offset, offset);
	PUT(ext[0].length, length);
	a = area_of(&disk, 16);
	if (size)
		add(&a, QCOW2_EXT_CRYPTO, ext, size);
	return parse(&a);
}

TEST(extension_of_encryption_and_its_method_need_each_other)
{
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, 0x70000, 4096, 16), QCOW2_OK);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, 0, 0, 0), QCOW2_EXT_CRYPTO_MISMATCH);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_NONE, 0x70000, 4096, 16), QCOW2_EXT_CRYPTO_MISMATCH);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_AES, 0x70000, 4096, 16), QCOW2_EXT_CRYPTO_MISMATCH);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_AES, 0, 0, 0), QCOW2_OK);
}

TEST(extension_of_encryption_has_16_bytes_and_a_place)
{
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, 0x70000, 4096, 15), QCOW2_EXT_CRYPTO_SIZE);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, 0x70000, 4096, 17), QCOW2_EXT_CRYPTO_SIZE);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, 0, 4096, 16), QCOW2_EXT_CRYPTO_VALUES);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, 0x70000, 0, 16), QCOW2_EXT_CRYPTO_VALUES);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, 0x70200, 4096, 16), QCOW2_EXT_CRYPTO_VALUES);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, QCOW2_MAX_HOFF - 0x10000, 0x10000, 16), QCOW2_OK);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, QCOW2_MAX_HOFF - 0x10000, 0x10001, 16),
		       QCOW2_EXT_CRYPTO_VALUES);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, 0x70000, ~0ULL, 16), QCOW2_EXT_CRYPTO_VALUES);
	EXPECT_VERDICT(crypto(QCOW2_CRYPT_LUKS, ~0xffffULL, 1ULL << 40, 16), QCOW2_EXT_CRYPTO_VALUES);
}

/* Names of features as an image has them, @length bytes of the list. */
static const char *feature(const struct qcow2_feature_name_disk *list, u32 length,
			   u32 type, u32 bit)
{
	struct area a = area(16);
	char *name = test_buffer(NULL, 64);

	test_note("type %u bit %u", type, bit);
	if (list)
		add(&a, QCOW2_EXT_FEATURE_NAMES, list, length);
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	qcow2_feature_name(a.cluster, a.size, &a.h, type, bit, name, 64);
	return name;
}

TEST(feature_names_are_those_of_the_image)
{
	struct qcow2_feature_name_disk list[3] = {
		{ 0, 0, "soiled" }, { 0, 40, "time travel" }, { 1, 40, "slow \tglass\x80" },
	};

	EXPECT_STR(feature(list, 144, 0, 0), "soiled");
	EXPECT_STR(feature(list, 144, 0, 40), "time travel");
	EXPECT_STR(feature(list, 144, 1, 40), "slow ?glass?");
	EXPECT_STR(feature(list, 144, 2, 40), "unknown");
	EXPECT_STR(feature(list, 144, 0, 41), "unknown");
	EXPECT_STR(feature(list, 143, 1, 40), "unknown");	/* half a record is none */
	EXPECT_STR(feature(list, 95, 0, 0), "soiled");
}

TEST(feature_names_have_46_bytes_and_no_end)
{
	struct qcow2_feature_name_disk list[2];

	memset(list, 'x', sizeof(list));
	list[0].type = 0;
	list[0].bit = 9;
	EXPECT_EQ(strlen(feature(list, sizeof(list), 0, 9)), 46);
	EXPECT_EQ(strlen(feature(list, sizeof(list[0]), 0, 9)), 46);
	memset(list[0].name, 0, sizeof(list[0].name));	/* empty is no name */
	EXPECT_STR(feature(list, sizeof(list), 0, 9), "unknown");
}

TEST(feature_names_that_all_know)
{
	EXPECT_STR(feature(NULL, 0, 0, 0), "dirty bit");
	EXPECT_STR(feature(NULL, 0, 0, 1), "corrupt bit");
	EXPECT_STR(feature(NULL, 0, 0, 2), "external data file");
	EXPECT_STR(feature(NULL, 0, 0, 3), "compression type");
	EXPECT_STR(feature(NULL, 0, 0, 4), "extended L2 entries");
	EXPECT_STR(feature(NULL, 0, 0, 5), "unknown");
	EXPECT_STR(feature(NULL, 0, 1, 0), "lazy refcounts");
	EXPECT_STR(feature(NULL, 0, 2, 0), "bitmaps");
	EXPECT_STR(feature(NULL, 0, 2, 1), "raw external data");
	EXPECT_STR(feature(NULL, 0, 3, 0), "unknown");
}

TEST(feature_name_fits_where_it_is_put)
{
	struct area a = area(9);

	for (u32 size = 0; size < 12; size++) {
		char *name = test_buffer(NULL, size);

		test_note("%u bytes", size);
		qcow2_feature_name(a.cluster, a.size, &a.h, 0, 0, name, size);
		if (size)
			EXPECT_EQ(strlen(name), size < 10 ? size - 1 : 9);
	}
}

TEST(feature_names_beyond_the_bytes_given_are_not_read)
{
	struct qcow2_feature_name_disk list[1] = { { 0, 0, "soiled" } };
	struct area a = area(9);
	char name[64];
	u32 len;

	add(&a, QCOW2_EXT_FEATURE_NAMES, list, sizeof(list));
	EXPECT_VERDICT(parse(&a), QCOW2_OK);
	for (len = 0; len < a.pos; len++) {
		test_note("%u bytes", len);
		qcow2_feature_name(test_buffer(a.cluster, len), len, &a.h, 0, 0, name, sizeof(name));
		EXPECT_STR(name, "dirty bit");
	}
	qcow2_feature_name(test_buffer(a.cluster, len), len, &a.h, 0, 0, name, sizeof(name));
	EXPECT_STR(name, "soiled");
}
