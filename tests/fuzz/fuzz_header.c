// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The input is cluster 0 of an image, or what the file has of it: header,
 * extensions, feature names, and back to bytes.
 */
#include "fuzz.h"

/* What a good header promises to all who use it. */
static void header_holds(const struct qcow2_header *h)
{
	u64 cluster, span;

	MUST(h->version == 2 || h->version == 3);
	MUST(h->cluster_bits >= 9 && h->cluster_bits <= 21);
	MUST(h->refcount_order <= 6 && h->crypt_method <= 2 && h->compression_type <= 1);
	MUST(h->header_length == 72 || (h->version == 3 && h->header_length >= 104));
	cluster = 1ULL << h->cluster_bits;
	span = cluster * (cluster / (h->incompatible_features & QCOW2_INCOMPAT_EXTENDED_L2 ? 16 : 8));
	MUST(h->header_length <= cluster);
	MUST(!(h->size % 512) && h->size / span + !!(h->size % span) <= h->l1_size);
	MUST(h->l1_size <= 32ULL << 17 && h->refcount_table_clusters * cluster <= 8ULL << 20);
	MUST(!(h->l1_table_offset % cluster) && !(h->refcount_table_offset % cluster) &&
	     !(h->snapshots_offset % cluster));
	MUST(h->l1_table_offset <= (1ULL << 56) - 8ULL * h->l1_size);
	MUST(h->refcount_table_offset <= (1ULL << 56) - h->refcount_table_clusters * cluster);
	MUST(h->nb_snapshots <= 65536 && h->snapshots_offset <= (1ULL << 56) - 40ULL * h->nb_snapshots);
	MUST(!h->l1_size || h->l1_table_offset);
	MUST(!h->refcount_table_clusters || h->refcount_table_offset);
	MUST(!h->nb_snapshots || h->snapshots_offset);
	MUST(!h->backing_file.length || h->backing_file.offset);
	MUST(h->backing_file.length <= 1023 && h->backing_file.offset <= cluster &&
	     h->backing_file.length <= cluster - h->backing_file.offset);
}

/* Decoded, encoded and decoded again it is the same, and so are the bytes. */
static void round_trip(const uint8_t *data, const struct qcow2_header *h, enum qcow2_verdict verdict)
{
	struct qcow2_header_disk disk, again;
	struct qcow2_header back;
	u32 length = qcow2_header_encode(h, &disk);
	size_t field = offsetof(struct qcow2_header_disk, crypt_method);
	u32 i;

	MUST(length == 72 || (length >= 104 && length <= sizeof(disk)));
	MUST(qcow2_header_decode(&disk, sizeof(disk), &back) == verdict);
	MUST(!memcmp(h, &back, sizeof(back)));
	MUST(qcow2_header_encode(&back, &again) == length && !memcmp(&disk, &again, sizeof(disk)));
	/* The size may have been rounded, a name without an offset forgotten; padding is zero. */
	if (length > 105)
		length = 105;
	MUST(!memcmp((uint8_t *)&disk + field, data + field, length - field));
	for (i = length; i < sizeof(disk); i++)
		MUST(!((uint8_t *)&disk)[i]);
}

/* The place of a string that an extension has brought. */
static void string_holds(struct qcow2_string string, u32 end)
{
	MUST(string.offset <= end && string.length <= end - string.offset);
}

static void extensions_hold(const uint8_t *data, size_t size, const struct qcow2_header *h)
{
	u32 end = h->backing_file.offset ? h->backing_file.offset : 1U << h->cluster_bits;
	u32 pos = 0, before = h->header_length, type, count = 0;
	struct qcow2_string string;

	if (size < end)
		end = size;
	while (qcow2_extension_next(data, size, h, &pos, &type, &string)) {
		MUST(type != QCOW2_EXT_END && pos > before);
		MUST(string.offset == before + 8);
		string_holds(string, end);
		before = pos;
		MUST(++count <= end / 8);
	}
	string_holds(h->backing_format, end);
	string_holds(h->data_file, end);
	string_holds(h->feature_names, end);
	if (h->backing_file.length)
		string_holds(h->backing_file, size);
	MUST(h->backing_format.length <= 15 && h->data_file.length <= 4095);
	MUST(!!h->crypto_offset == (h->crypt_method == QCOW2_CRYPT_LUKS));
	MUST(h->crypto_offset <= (1ULL << 56) - h->crypto_length);
	if (!h->has_bitmaps)
		return;
	MUST((h->autoclear_features & 1) && h->nb_bitmaps >= 1 && h->nb_bitmaps <= 65535);
	MUST(h->bitmap_directory_offset && !(h->bitmap_directory_offset % (1ULL << h->cluster_bits)));
	MUST(h->bitmap_directory_size && h->bitmap_directory_size <= 1024ULL * 65535);
	MUST(h->bitmap_directory_offset <= (1ULL << 56) - h->bitmap_directory_size);
}

/* A name is a printable string of at most the size asked for. */
static void names_hold(const uint8_t *data, size_t size, const struct qcow2_header *h)
{
	unsigned int type, bit, length;
	char name[64];

	for (type = 0; type < 4; type++) {
		for (bit = 0; bit < 64; bit += 1 + (bit > 5) * 9) {
			memset(name, '\n', sizeof(name));
			length = (bit * 3) % sizeof(name);
			qcow2_feature_name(data, size, h, type, bit, name, length);
			MUST(name[length] == '\n');
			MUST(!length || memchr(name, 0, length));
			for (length = length ? strlen(name) : 0; length; length--)
				MUST(name[length - 1] >= ' ' && name[length - 1] <= '~');
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_header h, first;
	enum qcow2_verdict verdict = qcow2_header_decode(data, size, &h);
	bool whole = verdict == QCOW2_OK || verdict == QCOW2_REFTABLE_EMPTY;

	verdict_holds(verdict);
	/* Nothing behind the fixed header counts. */
	if (size > sizeof(struct qcow2_header_disk)) {
		MUST(qcow2_header_decode(data, sizeof(struct qcow2_header_disk), &first) == verdict);
		MUST(!memcmp(&h, &first, sizeof(h)));
	}
	if (whole) {
		header_holds(&h);
		round_trip(data, &h, verdict);
	} else if (verdict != QCOW2_UNKNOWN_INCOMPATIBLE) {
		return 0;
	}
	verdict = qcow2_header_extensions(data, size, &h);
	verdict_holds(verdict);
	names_hold(data, size, &h);
	if (!verdict && whole)
		extensions_hold(data, size, &h);
	return 0;
}
