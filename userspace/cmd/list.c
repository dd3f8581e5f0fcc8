// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * list: all attached devices, or those that use an image.
 */
#include <errno.h>
#include "../lib/device.h"
#include "../lib/err.h"
#include "cmd.h"

struct args {
	bool json, bytes;
};

static const struct cli_option options[] = {
	{ "json", 0, CLI_FLAG, offsetof(struct args, json),
	  .help = "print an object with the array devices" },
	{ "bytes", 0, CLI_FLAG, offsetof(struct args, bytes), .help = "print sizes in bytes" },
	{ }
};

/* Keep the devices that have the image in their chain. */
static void filter(struct device *devices, size_t *count, const struct image *image)
{
	size_t i, kept = 0;

	for (i = 0; i < *count; i++) {
		if (device_layer_of(&devices[i], image) >= 0)
			devices[kept++] = devices[i];
		else
			device_release(&devices[i]);
	}
	*count = kept;
}

static int run(void *data, char **operands)
{
	const struct args *args = data;
	struct out_rows rows = { .fields = device_list_fields, .size = sizeof(struct device) };
	struct image image = IMAGE_CLOSED;
	struct device *devices = NULL;
	int ret;

	ret = *operands ? image_open(&image, *operands) : 0;
	if (ret) {
		image_close(&image);
		return ret;
	}
	ret = device_list(&devices, &rows.count);
	/* A kernel without device mapper has no devices: that is an answer. */
	if (ret && ret != -ENODEV) {
		image_close(&image);
		return device_fail(ret, NULL);
	}
	if (*operands)
		filter(devices, &rows.count, &image);
	rows.rows = devices;
	out_table("devices", &rows, args->json, args->bytes);
	device_release_list(devices, rows.count);
	image_close(&image);
	return 0;
}

const struct cli_command cmd_list = {
	.name = "list",
	.action = "list devices",
	.synopsis = "[IMAGE]",
	.summary = "List the attached devices, or those that use the image",
	.options = options,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
