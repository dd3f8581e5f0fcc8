// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Read a snapshot table entry by entry through one buffer.
 */
#include <asm/byteorder.h>
#include <stdlib.h>
#include <string.h>
#include "check_snapshots.h"
#include "err.h"
#include "mem.h"

#define BUFFER_BYTES	65536

struct reader {
	const struct image *image;
	u8 *buffer;
	u64 start, len;		/* of what is in it, from the table's start */
};

/* @len bytes (at most BUFFER_BYTES - 512) at @offset of the table, or NULL after an error. */
static const void *get(struct reader *reader, u64 offset, u32 len)
{
	u64 hoff = reader->image->header.snapshots_offset;
	int ret;

	if (!reader->len || offset < reader->start ||
	    offset + len > reader->start + reader->len) {
		reader->start = offset & ~511ULL;
		reader->len = BUFFER_BYTES;
		ret = image_read(reader->image, hoff + reader->start, reader->buffer, reader->len);
		if (ret) {
			err_errno_what(-ret, reader->image->path, "cannot read the snapshot table");
			return NULL;
		}
	}
	return reader->buffer + (offset - reader->start);
}

/* Copy @len bytes at @offset in pieces. */
static int copy(struct reader *reader, u64 offset, u8 *to, u32 len)
{
	const void *from;
	u32 part;

	for (; len; to += part, offset += part, len -= part) {
		part = len < 4096 ? len : 4096;
		from = get(reader, offset, part);
		if (!from)
			return ERR_FAILED;
		memcpy(to, from, part);
	}
	return 0;
}

static int read_entry(struct reader *reader, u64 offset, const struct qcow2_snapshot_disk *disk,
		      struct check_snapshot *snap)
{
	const struct qcow2_geometry *geo = &reader->image->geo;
	u32 extra = be32_to_cpu(disk->extra_data_size);
	u32 names = be16_to_cpu(disk->id_str_size) + be16_to_cpu(disk->name_size);
	struct qcow2_snapshot_disk head = *disk;
	int ret;

	memset(snap, 0, sizeof(*snap));
	snap->l1_hoff = be64_to_cpu(disk->l1_table_offset);
	snap->l1_size = be32_to_cpu(disk->l1_size);
	snap->bad_l1 = qcow2_in_cluster(geo, snap->l1_hoff) || snap->l1_hoff > INT64_MAX ||
		       snap->l1_size > QCOW2_MAX_L1_BYTES / sizeof(__be64);
	snap->cut = extra > QCOW2_MAX_SNAPSHOT_EXTRA;
	snap->extra_size = snap->cut ? QCOW2_MAX_SNAPSHOT_EXTRA : extra;
	snap->incomplete = geo->version >= 3 && extra < 16;
	snap->len = sizeof(head) + snap->extra_size + names;
	snap->entry = mem_zalloc(snap->len);
	head.extra_data_size = cpu_to_be32(snap->extra_size);
	memcpy(snap->entry, &head, sizeof(head));
	offset += sizeof(head);
	ret = copy(reader, offset, snap->entry + sizeof(head), snap->extra_size);
	if (!ret)
		ret = copy(reader, offset + extra, snap->entry + sizeof(head) + snap->extra_size,
			   names);
	return ret;
}

/* Does the entry at @offset lie inside the format's limit and the file's end? */
static bool fits(const struct image *image, u64 offset, const struct qcow2_snapshot_disk *disk,
		 u64 *end)
{
	*end = offset + sizeof(*disk) + be32_to_cpu(disk->extra_data_size) +
	       be16_to_cpu(disk->id_str_size) + be16_to_cpu(disk->name_size);
	return *end <= QCOW2_MAX_SNAPSHOT_TABLE_BYTES &&
	       image->header.snapshots_offset + *end <= image->end;
}

int check_snapshots_read(struct check_snapshots *snapshots, const struct image *image)
{
	MEM_FREE u8 *buffer = mem_aligned(BUFFER_BYTES);
	struct reader reader = { .image = image, .buffer = buffer };
	const struct qcow2_snapshot_disk *disk;
	u32 wanted = image->header.nb_snapshots;
	u64 end;
	int ret;

	memset(snapshots, 0, sizeof(*snapshots));
	if (wanted > QCOW2_MAX_SNAPSHOTS) {
		wanted = QCOW2_MAX_SNAPSHOTS;
		snapshots->truncated = true;
	}
	while (snapshots->count < wanted) {
		u64 offset = (snapshots->len + 7) & ~7ULL;

		disk = get(&reader, offset, sizeof(*disk));
		if (!disk)
			return ERR_FAILED;
		if (!fits(image, offset, disk, &end)) {
			snapshots->truncated = true;
			return 0;
		}
		snapshots->entries = mem_grow(snapshots->entries, snapshots->count,
					      sizeof(*snapshots->entries));
		ret = read_entry(&reader, offset, disk, &snapshots->entries[snapshots->count++]);
		if (ret)
			return ret;
		snapshots->len = end;
	}
	return 0;
}

void check_snapshots_release(struct check_snapshots *snapshots)
{
	u32 i;

	for (i = 0; i < snapshots->count; i++)
		free(snapshots->entries[i].entry);
	free(snapshots->entries);
	memset(snapshots, 0, sizeof(*snapshots));
}
