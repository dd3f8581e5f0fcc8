// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Options that all edits have.
 */
#include "edit.h"

#define AT(member) offsetof(struct edit_options, member)

const struct cli_option cmd_edit_options[] = {
	{ "dry-run", 0, CLI_FLAG, AT(dry_run), .help = "print what would be written, in order" },
	{ "nolockfs", 0, CLI_FLAG, AT(nolockfs),
	  .help = "attached: do not freeze the file system meanwhile" },
	{ "timeout", 0, CLI_NUMBER, AT(timeout), "SEC", 86400, .min = 1,
	  .help = "attached: give up if it is not suspended by then (30)" },
	{ "progress", 0, CLI_CHOICE, AT(progress), "auto|json|none",
	  .help = "a bar on a terminal, lines for programs, or nothing (auto)" },
	{ }
};
