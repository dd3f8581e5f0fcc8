/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Options that all edits have.
 */
#ifndef QCOW2CTL_CMD_EDIT_H
#define QCOW2CTL_CMD_EDIT_H

#include "../lib/cli.h"
#include "../lib/edit.h"

/* Their variables are a struct edit_options. */
extern const struct cli_option cmd_edit_options[];

#endif
