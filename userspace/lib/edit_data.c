// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Find, lock and give back the external data file of an edit.
 *
 * What an image calls its data file is whatever its author wrote. Beside the
 * image it may be followed, as far as whoever can write there could reach
 * anyway; everywhere else the file has to be said, which attach is there for.
 */
#include <string.h>
#include <unistd.h>
#include "chain.h"
#include "edit_data.h"
#include "err.h"
#include "mem.h"
#include "text.h"

static int open_of_device(struct edit_data *data, const char *name)
{
	struct device device;
	const char *path;
	int ret = device_get(name, &device);

	if (ret)
		return device_fail(ret, name);
	path = device_data_file(&device);
	ret = path ? image_open(&data->image, path) :
		     err_fail(ERR_FAILED, name, "its table names no data file");
	device_release(&device);
	if (!ret)
		ret = edit_check_file(&data->image);
	return ret ? ret : image_open_direct(&data->image, false);
}

static int open_named(struct edit_data *data, const struct image *image)
{
	MEM_FREE char *name = image_string(image, &image->header.data_file);
	MEM_FREE char *path = text_shell(image->path);
	int ret;

	if (!name)
		return err_fail(ERR_POLICY, image->path, "image does not say where its data file is");
	ret = chain_open_beside(image, "data file", name, &data->image);
	if (ret == ERR_POLICY)
		err_hint("qcow2ctl attach --data-file PATH %s NAME, if you trust it, then use NAME",
			 path);
	return ret;
}

static int verify(const struct edit_data *data, const struct image *image)
{
	if (image_is_same(&data->image, &image->st))
		return err_fail(ERR_FAILED, image->path, "image and data file are the same");
	if (data->image.end >= image->header.size)
		return 0;
	return err_fail(ERR_CORRUPT, data->image.path,
			"data file has %llu bytes, but the disk has %llu",
			(unsigned long long)data->image.end,
			(unsigned long long)image->header.size);
}

int edit_data_open(struct edit_data *data, struct edit *edit)
{
	int ret;

	if (edit_has_data(data) || !edit->image->geo.data_file)
		return 0;
	ret = edit->target.is_device ? open_of_device(data, edit->target.device) :
				       open_named(data, edit->image);
	data->image.raw = true;
	edit->beside = data->image.path;
	return ret ? ret : verify(data, edit->image);
}

int edit_data_take(struct edit_data *data, struct edit *edit)
{
	int ret;

	if (!edit_has_data(data))
		return 0;
	ret = edit->target.is_device ? edit_share(edit, &data->image, false) :
				       edit_lock(&data->image, false);
	/* It was looked at before it was ours. */
	if (!ret)
		ret = verify(data, edit->image);
	if (ret)
		return ret;
	data->is_ours = true;
	data->old_end = data->image.end;
	plan_init(&data->plan, &data->image, edit->options->dry_run);
	return 0;
}

void edit_data_close(struct edit_data *data, const struct edit *edit)
{
	struct image *image = &data->image;

	if (!edit_has_data(data))
		return;
	if (data->is_ours && !edit->committed && !image->is_block && image->end > data->old_end &&
	    ftruncate(image->fd, data->old_end))
		err_warn(image->path, "cannot give it its old length of %llu bytes back",
			 (unsigned long long)data->old_end);
	if (data->is_ours)
		plan_release(&data->plan);
	image_close(image);
}
