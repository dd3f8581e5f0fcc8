// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * External snapshots: an overlay with the cluster size and the disk size of the
 * image, which it names by its absolute path.
 */
#include <unistd.h>
#include "create.h"
#include "err.h"
#include "lock.h"
#include "mem.h"
#include "out.h"
#include "partition.h"
#include "progress.h"
#include "run.h"
#include "snapshot_external.h"
#include "text.h"

struct overlay {
	struct newfile *file;
	struct image image;
};

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
	if (target->device && !target->is_device)
		return err_fail(ERR_BUSY, image->path, "image is in use by device %s",
				target->device);
	if (image->geo.data_file)
		return err_fail(ERR_UNSUPPORTED, image->path,
				"an image with an external data file can be on top only");
	ret = edit_check_unclean(image);
	return ret || target->is_device ? ret : hold(image);
}

static void print_plan(const struct create_request *request)
{
	MEM_FREE char *overlay = text_printable(request->path);
	MEM_FREE char *backing = text_printable(request->backing);

	out_text("create   %s over %s\n", overlay, backing);
}

/* The device's line with the overlay on top, for the caller to free. */
static char *line_over(const struct device *device, const struct image *overlay)
{
	MEM_FREE char *path = mem_printf("/proc/self/fd/%d", overlay->fd);
	struct table table = { 0 };
	char *line;
	size_t i;

	table_add_layer(&table, false, path);
	for (i = 0; i < device->table.nr_layers; i++)
		table_add_layer(&table, device->table.raw[i], device->table.paths[i]);
	for (i = 0; i < device->table.nr_words; i++)
		table_add_word(&table, device->table.words[i]);
	line = table_format(&table);
	table_release(&table);
	return line;
}

/* The snapshot that a backup has made has to be deleted from the image; and that can only be the top one. */
static int refuse_backup(const char *name)
{
	MEM_FREE char *frozen = mem_printf("%s.frozen", name);
	MEM_FREE char *intent = mem_printf(RUN_FOLDER "/%s.intent", frozen);

	if (run_is_locked(frozen))
		return err_fail(ERR_BUSY, name, "a backup of it is under way: %s", frozen);
	if (access(intent, F_OK))
		return 0;
	err_fail(ERR_BUSY, name, "a backup has left something: %s", frozen);
	err_hint("qcow2ctl recover %s", name);
	return ERR_BUSY;
}

/* The guardian is there: should this process die, he takes the overlay away. */
static int name_overlay(const struct device *device, void *data, char **params)
{
	struct overlay *overlay = data;
	int ret = refuse_backup(device->dm.name);

	if (!ret)
		ret = newfile_keep(overlay->file);
	/* Once more, by the name that it has now: the first descriptor has none for the kernel to print. */
	if (!ret)
		ret = image_open(&overlay->image, overlay->file->path);
	/* On a device the descriptor has locks that the kernel would meet. */
	if (!ret)
		ret = newfile_unlock(overlay->file);
	if (!ret)
		*params = line_over(device, &overlay->image);
	return ret;
}

/* From the next write on the overlay gets it. */
static int put_on_top(const char *name, struct newfile *file, const struct edit_options *options,
		      bool *stays)
{
	struct guard_request request = {
		.writes = true,
		.freeze = !options->nolockfs,
		.seconds = EDIT_SECONDS(options),
		.file = file->path,
		.overlay = file,
	};
	struct overlay overlay = { .file = file, .image = IMAGE_CLOSED };
	int ret;

	if (!options->nolockfs)
		partition_warn(name);
	progress_start(options->progress, name);
	ret = guard_reload(name, &request, name_overlay, &overlay);
	progress_end();
	/* After an error, too, if the kernel took the table when it was asked once more. */
	*stays = overlay.image.fd >= 0 && guard_is_layer(&overlay.image);
	image_close(&overlay.image);
	return ret;
}

/* What would be refused later: no overlay is made for that. */
static int check_device(const char *name)
{
	struct device device;
	int ret = device_get(name, &device);

	if (ret)
		return device_fail(ret, name);
	if (device.dm.readonly)
		ret = err_fail(ERR_POLICY, name, "device is read-only");
	else
		ret = refuse_backup(name);
	device_release(&device);
	return ret;
}

int snapshot_create_external(const char *text, const char *overlay,
			     const struct edit_options *options)
{
	struct create_request request = { .path = overlay, .version = 3, .refcount_order = 4 };
	struct newfile file = NEWFILE_CLOSED;
	MEM_FREE char *real = NULL, *backing = NULL;
	struct target target;
	bool stays = false;
	int ret = open_target(&target, text);

	if (!ret) {
		real = image_real_path(&target.image);
		backing = device_lasting_path(real);
		request.backing = backing;
		request.size = target.image.header.size;
		request.cluster_bits = target.image.header.cluster_bits;
		request.unnamed = target.is_device;
	}
	if (!ret && target.is_device)
		ret = check_device(target.device);
	if (!ret && options->dry_run)
		print_plan(&request);
	else if (!ret)
		ret = create_image(&request, &file);
	if (!ret && target.is_device && !options->dry_run)
		ret = put_on_top(target.device, &file, options, &stays);
	newfile_close(&file, ret && !stays);
	target_close(&target);
	return ret;
}
