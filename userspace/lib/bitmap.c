// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Reader of the bitmap directory.
 */
#include "bitmap.h"
#include "err.h"
#include "mem.h"

int bitmap_read_names(const struct image *image, char ***names)
{
	const struct qcow2_header *h = &image->header;
	MEM_FREE char *directory = NULL;
	struct qcow2_bitmap bitmap;
	enum qcow2_verdict verdict;
	u64 offset = 0;
	int ret;
	u32 nr;

	*names = NULL;
	if (!h->has_bitmaps)
		return 0;
	directory = mem_zalloc(h->bitmap_directory_size);
	ret = image_read(image, h->bitmap_directory_offset, directory, h->bitmap_directory_size);
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the bitmap directory");
	for (nr = 0; nr < h->nb_bitmaps; nr++) {
		verdict = qcow2_bitmap_decode(directory, h->bitmap_directory_size, offset, &bitmap);
		if (verdict)
			return err_fail(err_code(qcow2_verdict_errno(verdict)), image->path,
					"bitmap %u: %s", nr, qcow2_verdict_text(verdict));
		mem_add_string(names,
			       mem_strndup(directory + bitmap.name.offset, bitmap.name.length));
		offset += bitmap.length;
	}
	return 0;
}
