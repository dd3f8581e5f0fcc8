// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * snapshot create, list, apply, delete.
 */
#include <string.h>
#include "../lib/backup_point.h"
#include "../lib/err.h"
#include "../lib/snapshot.h"
#include "../lib/snapshot_edit.h"
#include "../lib/snapshot_external.h"
#include "cmd.h"
#include "edit.h"

#define MAX_TAG	255	/* bytes; QEMU shows no more */

/* ------------------------------------------------------------------------
 * create
 */

struct create_args {
	const char *external;
	struct edit_options edit;
};

static const struct cli_option create_options[] = {
	{ "external", 0, CLI_STRING, offsetof(struct create_args, external), "OVERLAY",
	  .help = "instead of TAG: a new image over TARGET" },
	{ "edit", 0, CLI_TABLE, offsetof(struct create_args, edit), .table = cmd_edit_options },
	{ }
};

static int run_create(void *data, char **operands)
{
	const struct create_args *args = data;

	if (args->external && operands[1])
		return err_usage("with --external there is no TAG");
	if (args->external)
		return snapshot_create_external(operands[0], args->external, &args->edit);
	if (!operands[1])
		return err_usage("missing argument, TAG");
	if (!*operands[1] || strlen(operands[1]) > MAX_TAG)
		return err_usage("TAG: it has 1 to %d bytes", MAX_TAG);
	if (!strcmp(operands[1], BACKUP_TAG))
		return err_usage("TAG: %s is what backups make and delete", BACKUP_TAG);
	return snapshot_create(operands[0], operands[1], &args->edit);
}

static const struct cli_command cmd_create_snapshot = {
	.name = "snapshot create",
	.action = "create the snapshot",
	.synopsis = "TARGET {TAG | --external OVERLAY}",
	.summary = "Keep the disk as it is now under the name TAG",
	.text = "The snapshot lives inside the image. With --external there is no TAG: a new image\n"
		"OVERLAY is made over TARGET, which must not be written any more; a device goes on with\n"
		"OVERLAY on top. OVERLAY must not exist.\n",
	.options = create_options,
	.min_operands = 1,
	.max_operands = 2,
	.args_size = sizeof(struct create_args),
	.run = run_create,
};

/* ------------------------------------------------------------------------
 * list
 */

struct list_args {
	bool json;
};

static const struct cli_option list_options[] = {
	{ "json", 0, CLI_FLAG, offsetof(struct list_args, json), .help = "print an object" },
	{ }
};

static int run_list(void *data, char **operands)
{
	const struct list_args *args = data;
	struct out_rows rows = { 0 };
	struct target target;
	int ret;

	ret = target_open(&target, operands[0]);
	if (!ret)
		ret = snapshot_read(&target.image, &rows);
	if (!ret)
		out_table("snapshots", &rows, args->json, false);
	snapshot_release(&rows);
	target_close(&target);
	return ret;
}

static const struct cli_command cmd_list_snapshots = {
	.name = "snapshot list",
	.action = "list snapshots",
	.synopsis = "TARGET",
	.summary = "List the snapshots of an image, attached or not",
	.options = list_options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct list_args),
	.run = run_list,
};

/* ------------------------------------------------------------------------
 * apply, delete
 */

static int run_apply(void *args, char **operands)
{
	return snapshot_apply(operands[0], operands[1], args);
}

static const struct cli_command cmd_apply_snapshot = {
	.name = "snapshot apply",
	.action = "apply the snapshot",
	.synopsis = "TARGET ID",
	.summary = "Make the disk what it was when the snapshot was created",
	.text = "What was written since is lost; the snapshot stays. ID is an id, or else a tag.\n",
	.options = cmd_edit_options,
	.min_operands = 2,
	.max_operands = 2,
	.args_size = sizeof(struct edit_options),
	.run = run_apply,
};

static int run_delete(void *args, char **operands)
{
	return snapshot_delete(operands[0], operands[1], args);
}

static const struct cli_command cmd_delete_snapshot = {
	.name = "snapshot delete",
	.action = "delete the snapshot",
	.synopsis = "TARGET ID",
	.summary = "Delete a snapshot and free what only it refers to",
	.text = "ID is an id, or else a tag.\n",
	.options = cmd_edit_options,
	.min_operands = 2,
	.max_operands = 2,
	.args_size = sizeof(struct edit_options),
	.run = run_delete,
};

static const struct cli_command *const commands[] = {
	&cmd_create_snapshot, &cmd_list_snapshots, &cmd_apply_snapshot, &cmd_delete_snapshot, NULL
};

const struct cli_command cmd_snapshot = {
	.name = "snapshot",
	.synopsis = "create|list|apply|delete ...",
	.summary = "Create, list, apply and delete snapshots",
	.commands = commands,
};
