// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The list of snapshots as it is shown.
 */
#include <stdlib.h>
#include <string.h>
#include "mem.h"
#include "snapshot.h"
#include "snapshot_table.h"

#define FIELD(key, title, type) { #key, title, type, offsetof(struct snapshot, key), NULL }

const struct out_field snapshot_fields[] = {
	FIELD(id, "ID", OUT_STRING),
	FIELD(tag, "TAG", OUT_STRING),
	FIELD(date, "DATE", OUT_DATE),
	FIELD(size, "SIZE", OUT_BYTES),
	FIELD(vmstate, "VMSTATE", OUT_BYTES),
	{ }
};

int snapshot_read(const struct image *image, struct out_rows *rows)
{
	struct snapshot_table table;
	int ret = snapshot_table_read(image, &table);
	struct snapshot *list = mem_zalloc(table.count * sizeof(*list));
	u32 i;

	for (i = 0; i < table.count; i++) {
		const struct qcow2_snapshot *snap = &table.entries[i];

		list[i].id = snapshot_table_string(&table, &snap->id);
		list[i].tag = snapshot_table_string(&table, &snap->name);
		list[i].date = snap->date_sec;
		list[i].size = snap->disk_size == QCOW2_SNAPSHOT_NONE ? image->header.size :
									snap->disk_size;
		list[i].vmstate = snap->vm_state_size;
	}
	rows->fields = snapshot_fields;
	rows->size = sizeof(*list);
	rows->rows = list;
	rows->count = table.count;
	snapshot_table_release(&table);
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
