// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Reader of the snapshot table.
 *
 * The table's length is not stored anywhere; it is read in growing pieces
 * until the last entry is complete, up to the 64 MiB that the format allows.
 */
#include <stdlib.h>
#include <string.h>
#include "err.h"
#include "mem.h"
#include "snapshot.h"

#define FIRST_BYTES	65536

#define FIELD(key, title, type) { #key, title, type, offsetof(struct snapshot, key), NULL }

const struct out_field snapshot_fields[] = {
	FIELD(id, "ID", OUT_STRING),
	FIELD(tag, "TAG", OUT_STRING),
	FIELD(date, "DATE", OUT_DATE),
	FIELD(size, "SIZE", OUT_BYTES),
	FIELD(vmstate, "VMSTATE", OUT_BYTES),
	{ }
};

struct raw_table {
	char *bytes;
	u64 len;
};

/* Read more of the table; false: there is no more. */
static int read_more(const struct image *image, struct raw_table *table, bool *more)
{
	u64 hoff = image->header.snapshots_offset;
	u64 left = image->end > hoff ? image->end - hoff : 0;
	u64 want = table->len ? 4 * table->len : FIRST_BYTES;
	int ret;

	if (want > QCOW2_MAX_SNAPSHOT_TABLE_BYTES + 8)
		want = QCOW2_MAX_SNAPSHOT_TABLE_BYTES + 8;
	if (want > left)
		want = left;
	*more = want > table->len;
	if (!*more)
		return 0;
	free(table->bytes);
	table->bytes = mem_zalloc(want);
	table->len = want;
	ret = image_read(image, hoff, table->bytes, want);
	return ret ? err_errno_what(-ret, image->path, "cannot read the snapshot table") : 0;
}

/* Decode entry @nr at @offset, reading on as it needs. */
static int decode(const struct image *image, struct raw_table *table, u32 nr, u64 offset,
		  struct qcow2_snapshot *snap)
{
	enum qcow2_verdict verdict;
	bool more = true;
	int ret;

	for (;;) {
		verdict = qcow2_snapshot_decode(table->bytes, table->len, offset, snap);
		if (!verdict)
			return 0;
		if (verdict == QCOW2_SNAPSHOT_RANGE) {
			ret = read_more(image, table, &more);
			if (ret)
				return ret;
			if (more)
				continue;
		}
		return err_fail(err_code(qcow2_verdict_errno(verdict)), image->path,
				"snapshot %u: %s", nr, qcow2_verdict_text(verdict));
	}
}

static void convert(const struct image *image, const struct raw_table *table,
		    const struct qcow2_snapshot *snap, struct snapshot *snapshot)
{
	snapshot->id = mem_strndup(table->bytes + snap->id.offset, snap->id.length);
	snapshot->tag = mem_strndup(table->bytes + snap->name.offset, snap->name.length);
	snapshot->date = snap->date_sec;
	snapshot->size = snap->disk_size == QCOW2_SNAPSHOT_NONE ? image->header.size :
								  snap->disk_size;
	snapshot->vmstate = snap->vm_state_size;
}

int snapshot_read(const struct image *image, struct out_rows *rows)
{
	struct snapshot *list = NULL;
	struct raw_table table = { 0 };
	struct qcow2_snapshot snap;
	u64 offset = 0;
	int ret = 0;
	u32 nr;

	rows->fields = snapshot_fields;
	rows->size = sizeof(*list);
	for (nr = 0; nr < image->header.nb_snapshots; nr++) {
		ret = decode(image, &table, nr, offset, &snap);
		if (ret)
			break;
		list = mem_grow(list, nr, sizeof(*list));
		convert(image, &table, &snap, &list[nr]);
		offset += snap.length;
	}
	free(table.bytes);
	rows->rows = list;
	rows->count = nr;
	return ret;
}

void snapshot_release(struct out_rows *rows)
{
	struct snapshot *list = (struct snapshot *)rows->rows;
	size_t i;

	for (i = 0; i < rows->count; i++) {
		free(list[i].id);
		free(list[i].tag);
	}
	free(list);
	memset(rows, 0, sizeof(*rows));
}
