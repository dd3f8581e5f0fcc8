// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Mend the snapshot table and the L1 tables that it leads to.
 */
#include <asm/byteorder.h>
#include <stdlib.h>
#include <string.h>
#include "err.h"
#include "mem.h"
#include "repair.h"
#include "text.h"

static void warn_lost(const struct repair *repair, const struct check_snapshot *snap)
{
	const struct qcow2_snapshot_disk *head = (const void *)snap->entry;
	u32 id = be16_to_cpu(head->id_str_size), name = be16_to_cpu(head->name_size);
	MEM_FREE char *text = mem_strndup(snap->entry + snap->len - name, name);
	MEM_FREE char *shown = text_printable(text);

	(void)id;
	err_warn(repair->edit.image->path, "snapshot '%s' is lost", shown);
}

/* The snapshot's L1 table, mended; *@changed if the entry has to say something else. */
static int mend_l1(struct repair *repair, struct check_snapshot *snap, bool *changed)
{
	struct qcow2_snapshot_disk *head = (void *)snap->entry;
	struct edit *edit = &repair->edit;
	struct mapping mapping;
	int ret;

	edit_init_mapping(edit, &mapping);
	ret = mapping_load(&mapping, snap->l1_hoff, snap->l1_size);
	if (!ret)
		ret = repair_l1(repair, &mapping, false);
	if (!ret)
		ret = mapping_stage(&mapping);
	if (!ret && mapping.hoff != snap->l1_hoff) {
		head->l1_table_offset = cpu_to_be64(mapping.hoff);
		*changed = true;
	}
	mapping_release(&mapping);
	return ret;
}

/* Version 3 wants to know the disk's size, and with it come the fields before it. */
static void complete(const struct repair *repair, struct check_snapshot *snap)
{
	struct qcow2_snapshot_disk *head = (void *)snap->entry;
	struct qcow2_snapshot_extra_disk extra = {
		.vm_state_size_large = cpu_to_be64(be32_to_cpu(head->vm_state_size)),
		.disk_size = cpu_to_be64(repair->edit.header.size),
	};
	u32 size = offsetof(struct qcow2_snapshot_extra_disk, icount);
	u32 names = snap->len - sizeof(*head) - snap->extra_size;
	u8 *entry = mem_zalloc(sizeof(*head) + size + names);

	if (snap->extra_size >= sizeof(extra.vm_state_size_large))
		memcpy(&extra, head + 1, sizeof(extra.vm_state_size_large));
	head->extra_data_size = cpu_to_be32(size);
	memcpy(entry, head, sizeof(*head));
	memcpy(entry + sizeof(*head), &extra, size);
	memcpy(entry + sizeof(*head) + size, snap->entry + snap->len - names, names);
	free(snap->entry);
	snap->entry = entry;
	snap->extra_size = size;
	snap->len = sizeof(*head) + size + names;
}

/* Put the entry into the new table. */
static void append(struct snapshot_table *table, const struct check_snapshot *snap, u64 room)
{
	u64 offset = (table->len + 7) & ~7ULL;

	if (!table->bytes)
		table->bytes = mem_zalloc(room);
	memcpy(table->bytes + offset, snap->entry, snap->len);
	table->len = offset + snap->len;
	table->count++;
}

static u64 room_for(const struct check_snapshots *snapshots)
{
	u64 room = 8;
	u32 i;

	for (i = 0; i < snapshots->count; i++)
		room += snapshots->entries[i].len + 8 + sizeof(struct qcow2_snapshot_extra_disk);
	return room;
}

static int mend_one(struct repair *repair, struct check_snapshot *snap, u64 room, bool *changed)
{
	int ret;

	if (snap->bad_l1 || repair->edit.image->geo.data_file) {
		warn_lost(repair, snap);
		*changed = true;
		return 0;
	}
	ret = mend_l1(repair, snap, changed);
	if (ret)
		return ret;
	if (snap->incomplete)
		complete(repair, snap);
	*changed |= snap->cut || snap->incomplete;
	append(&repair->edit.snapshots, snap, room);
	return 0;
}

int repair_snapshots(struct repair *repair)
{
	struct check_snapshots *snapshots = &repair->check.snapshots;
	struct edit *edit = &repair->edit;
	bool changed = snapshots->truncated;
	u64 room = room_for(snapshots);
	int ret = 0;
	u32 i;

	if (snapshots->truncated)
		err_warn(edit->image->path, "snapshots from number %u on are lost",
			 snapshots->count);
	for (i = 0; !ret && i < snapshots->count; i++)
		ret = mend_one(repair, &snapshots->entries[i], room, &changed);
	edit->snapshots_hoff = edit->header.snapshots_offset;
	edit->snapshots_len = snapshots->len;
	edit->snapshots_dirty = changed;
	return ret;
}
