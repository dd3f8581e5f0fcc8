// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * External snapshots: an overlay with the cluster size and the disk size of the
 * image, which it names by its absolute path.
 */
#include "create.h"
#include "err.h"
#include "lock.h"
#include "mem.h"
#include "out.h"
#include "snapshot_external.h"
#include "text.h"

/* Nobody writes to the image while its overlay is made. */
static int hold(const struct image *image)
{
	int byte = lock_take(image->fd, LOCK_READER);

	return byte ? edit_refuse_locked(image, byte) : 0;
}

static int open_target(struct target *target, const char *text)
{
	const struct image *image = &target->image;
	int ret = target_open(target, text);

	if (ret)
		return ret;
	if (target->device)
		return err_fail(ERR_BUSY, image->path, "image is in use by device %s",
				target->device);
	if (image->geo.data_file)
		return err_fail(ERR_UNSUPPORTED, image->path,
				"an image with an external data file can be on top only");
	ret = edit_check_unclean(image);
	return ret ? ret : hold(image);
}

static void print_plan(const struct create_request *request)
{
	MEM_FREE char *overlay = text_printable(request->path);
	MEM_FREE char *backing = text_printable(request->backing);

	out_text("create   %s over %s\n", overlay, backing);
}

int snapshot_create_external(const char *text, const char *overlay,
			     const struct edit_options *options)
{
	struct create_request request = { .path = overlay, .version = 3, .refcount_order = 4 };
	struct newfile file = NEWFILE_CLOSED;
	MEM_FREE char *backing = NULL;
	struct target target;
	int ret = open_target(&target, text);

	if (!ret) {
		backing = image_real_path(&target.image);
		request.backing = backing;
		request.size = target.image.header.size;
		request.cluster_bits = target.image.header.cluster_bits;
	}
	if (!ret && options->dry_run)
		print_plan(&request);
	else if (!ret)
		ret = create_image(&request, &file);
	newfile_close(&file, ret);
	target_close(&target);
	return ret;
}
