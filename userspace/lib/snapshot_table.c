// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Reader and editor of the snapshot table.
 *
 * The table's length is not stored anywhere; it is read in growing pieces
 * until the last entry is complete, up to the 64 MiB that the format allows.
 */
#include <stdlib.h>
#include <string.h>
#include "err.h"
#include "mem.h"
#include "snapshot_table.h"

#define FIRST_BYTES	65536

/* Read more of the table; *@more is false if there is no more. */
static int read_more(const struct image *image, struct snapshot_table *table, u64 *have, bool *more)
{
	u64 hoff = image->header.snapshots_offset;
	u64 left = image->end > hoff ? image->end - hoff : 0;
	u64 want = *have ? 4 * *have : FIRST_BYTES;
	int ret;

	if (want > QCOW2_MAX_SNAPSHOT_TABLE_BYTES + 8)
		want = QCOW2_MAX_SNAPSHOT_TABLE_BYTES + 8;
	if (want > left)
		want = left;
	*more = want > *have;
	if (!*more)
		return 0;
	free(table->bytes);
	table->bytes = mem_aligned(want + 8);
	*have = want;
	ret = image_read(image, hoff, table->bytes, want);
	return ret ? err_errno_what(-ret, image->path, "cannot read the snapshot table") : 0;
}

/* Decode the next entry, reading on as it needs. */
static int decode(const struct image *image, struct snapshot_table *table, u64 *have, u64 offset,
		  struct qcow2_snapshot *snap)
{
	enum qcow2_verdict verdict;
	bool more = true;
	int ret;

	for (;;) {
		verdict = qcow2_snapshot_decode(table->bytes, *have, offset, snap);
		if (!verdict)
			return 0;
		if (verdict == QCOW2_SNAPSHOT_RANGE) {
			ret = read_more(image, table, have, &more);
			if (ret)
				return ret;
			if (more)
				continue;
		}
		return err_fail(err_code(qcow2_verdict_errno(verdict)), image->path,
				"snapshot %u: %s", table->count, qcow2_verdict_text(verdict));
	}
}

static void append(struct snapshot_table *table, u64 offset, const struct qcow2_snapshot *snap)
{
	table->entries = mem_grow(table->entries, table->count, sizeof(*table->entries));
	table->offsets = mem_grow(table->offsets, table->count, sizeof(*table->offsets));
	table->entries[table->count] = *snap;
	table->offsets[table->count++] = offset;
}

int snapshot_table_read(const struct image *image, struct snapshot_table *table)
{
	struct qcow2_snapshot snap;
	u64 offset = 0, have = 0;
	int ret;

	memset(table, 0, sizeof(*table));
	while (table->count < image->header.nb_snapshots) {
		ret = decode(image, table, &have, offset, &snap);
		if (ret)
			return ret;
		append(table, offset, &snap);
		table->len = snap.name.offset + snap.name.length;
		offset += snap.length;
	}
	return 0;
}

void snapshot_table_release(struct snapshot_table *table)
{
	free(table->bytes);
	free(table->entries);
	free(table->offsets);
	memset(table, 0, sizeof(*table));
}

/* ------------------------------------------------------------------------
 * Names
 */

char *snapshot_table_string(const struct snapshot_table *table, const struct qcow2_string *string)
{
	return mem_strndup(table->bytes + string->offset, string->length);
}

static bool is_text(const struct snapshot_table *table, const struct qcow2_string *string,
		    const char *text)
{
	return string->length == strlen(text) &&
	       !memcmp(table->bytes + string->offset, text, string->length);
}

bool snapshot_table_find(const struct snapshot_table *table, const char *id, u32 *index)
{
	u32 i;

	for (i = 0; i < table->count; i++) {
		*index = i;
		if (is_text(table, &table->entries[i].id, id))
			return true;
	}
	for (i = 0; i < table->count; i++) {
		*index = i;
		if (is_text(table, &table->entries[i].name, id))
			return true;
	}
	return false;
}

bool snapshot_table_has_tag(const struct snapshot_table *table, const char *tag)
{
	u32 i;

	for (i = 0; i < table->count; i++) {
		if (is_text(table, &table->entries[i].name, tag))
			return true;
	}
	return false;
}

char *snapshot_table_next_id(const struct snapshot_table *table)
{
	unsigned long highest = 0, id;
	u32 i;

	for (i = 0; i < table->count; i++) {
		MEM_FREE char *text = snapshot_table_string(table, &table->entries[i].id);

		id = strtoul(text, NULL, 10);
		if (id > highest)
			highest = id;
	}
	return mem_printf("%lu", highest + 1);
}

/* ------------------------------------------------------------------------
 * Changes
 */

static u64 padded(u64 len)
{
	return (len + 7) & ~7ULL;
}

void snapshot_table_add(struct snapshot_table *table, const struct qcow2_snapshot *given,
			const char *id, const char *tag)
{
	struct qcow2_snapshot_extra_disk extra;
	struct qcow2_snapshot snap = *given;
	struct qcow2_snapshot_disk disk;
	u64 offset = padded(table->len);
	u8 *bytes;

	snap.extra_data_size = sizeof(extra);
	snap.id.offset = offset + sizeof(disk) + sizeof(extra);
	snap.id.length = strlen(id);
	snap.name.offset = snap.id.offset + snap.id.length;
	snap.name.length = strlen(tag);
	table->len = snap.name.offset + snap.name.length;
	snap.length = padded(table->len) - offset;
	qcow2_snapshot_encode(&snap, &disk, &extra);
	bytes = mem_zalloc(padded(table->len));
	if (offset)
		memcpy(bytes, table->bytes, offset);
	memcpy(bytes + offset, &disk, sizeof(disk));
	memcpy(bytes + offset + sizeof(disk), &extra, sizeof(extra));
	memcpy(bytes + snap.id.offset, id, snap.id.length);
	memcpy(bytes + snap.name.offset, tag, snap.name.length);
	free(table->bytes);
	table->bytes = bytes;
	append(table, offset, &snap);
}

void snapshot_table_remove(struct snapshot_table *table, u32 index)
{
	u64 start = table->offsets[index], length = table->entries[index].length;
	u64 end = start + length;
	u32 i;

	if (end < table->len) {
		memmove(table->bytes + start, table->bytes + end, padded(table->len) - end);
		table->len -= length;
	} else {
		table->len = start;
	}
	table->count--;
	for (i = index; i < table->count; i++) {
		table->offsets[i] = table->offsets[i + 1] - length;
		table->entries[i] = table->entries[i + 1];
		table->entries[i].id.offset -= length;
		table->entries[i].name.offset -= length;
	}
}
