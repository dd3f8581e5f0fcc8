/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * All commands, in the order in which help lists them.
 */
#ifndef QCOW2CTL_CMD_H
#define QCOW2CTL_CMD_H

#include "../lib/cli.h"

extern const struct cli_command cmd_attach;
extern const struct cli_command cmd_detach;
extern const struct cli_command cmd_list;
extern const struct cli_command cmd_status;
extern const struct cli_command cmd_info;
extern const struct cli_command cmd_create;
extern const struct cli_command cmd_clone;
extern const struct cli_command cmd_snapshot;
extern const struct cli_command cmd_resize;
extern const struct cli_command cmd_commit;
extern const struct cli_command cmd_rebase;
extern const struct cli_command cmd_check;
extern const struct cli_command cmd_repair;
extern const struct cli_command cmd_map;
extern const struct cli_command cmd_measure;
extern const struct cli_command cmd_interpose;
extern const struct cli_command cmd_move;
extern const struct cli_command cmd_checkpoint;
extern const struct cli_command cmd_changes;
extern const struct cli_command cmd_backup;
extern const struct cli_command cmd_monitor;
extern const struct cli_command cmd_recover;
extern const struct cli_command cmd_version;
extern const struct cli_command cmd_help;

/* NULL-terminated. */
extern const struct cli_command *const cmd_all[];
const struct cli_command *cmd_find(const char *name);

#endif
