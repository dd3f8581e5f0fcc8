// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * version: of the tool, the module and the kernel.
 */
#include <sys/utsname.h>
#include "../lib/device.h"
#include "../lib/err.h"
#include "../lib/mem.h"
#include "../lib/out.h"
#include "cmd.h"

struct args {
	bool json;
};

static const struct cli_option options[] = {
	{ "json", 0, CLI_FLAG, offsetof(struct args, json),
	  .help = "print an object with tool, module, kernel" },
	{ }
};

struct versions {
	const char *tool, *module, *kernel;
};

static const struct out_field fields[] = {
	{ "tool", "qcow2ctl", OUT_STRING, offsetof(struct versions, tool), NULL },
	{ "module", "target " DEVICE_TARGET, OUT_STRING, offsetof(struct versions, module), NULL },
	{ "kernel", "kernel", OUT_STRING, offsetof(struct versions, kernel), NULL },
	{ }
};

static int run(void *data, char **operands)
{
	const struct args *args = data;
	struct versions versions = { .tool = QCOW2CTL_VERSION };
	MEM_FREE char *module = NULL;
	unsigned int number[3];
	struct utsname uts;

	(void)operands;
	if (!dm_target_version(DEVICE_TARGET, number))
		module = mem_printf("%u.%u.%u", number[0], number[1], number[2]);
	versions.module = module;
	if (!uname(&uts))
		versions.kernel = uts.release;
	out_object(fields, &versions, args->json);
	return 0;
}

const struct cli_command cmd_version = {
	.name = "version",
	.action = "find out versions",
	.synopsis = "",
	.summary = "Print the versions of tool, kernel target and kernel",
	.text = "The target's version is that of the loaded module, \"-\" if it is not loaded.\n",
	.options = options,
	.args_size = sizeof(struct args),
	.run = run,
};
