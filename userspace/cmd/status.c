// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * status: what one device does.
 */
#include "../lib/device.h"
#include "cmd.h"

struct args {
	bool json;
};

static const struct cli_option options[] = {
	{ "json", 0, CLI_FLAG, offsetof(struct args, json), .help = "print an object" },
	{ }
};

#define FIELD(key, title, type, member) { key, title, type, offsetof(struct device, member), NULL }

static const struct out_field fields[] = {
	FIELD("name", "name", OUT_STRING, dm.name),
	FIELD("dev", "device", OUT_STRING, number),
	FIELD("size", "size", OUT_BYTES, size),
	{ "status", NULL, OUT_FIELDS, offsetof(struct device, status), status_fields },
	FIELD("suspended", "suspended", OUT_BOOL, dm.suspended),
	FIELD("open", "open", OUT_COUNT, open),
	FIELD("layer", "layer", OUT_STRING, layer),
	{ }
};

static int run(void *data, char **operands)
{
	const struct args *args = data;
	struct device device;
	int ret;

	ret = device_get(operands[0], &device);
	if (ret)
		return device_fail(ret, operands[0]);
	out_object(fields, &device, args->json);
	device_release(&device);
	return 0;
}

const struct cli_command cmd_status = {
	.name = "status",
	.action = "show the status",
	.synopsis = "NAME",
	.summary = "Show state, space and counters of a device",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
