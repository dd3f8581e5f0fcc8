/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Where a layer keeps its state: a device, or a new file under a loop device.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_INTERPOSE_STATE_H
#define QCOW2CTL_INTERPOSE_STATE_H

#include "interpose.h"
#include "newfile.h"

struct interpose_state {
	char *path;		/* NULL: none */
	char *folder;		/* what must be there for it: itself, or where it will lie */
	bool own;		/* nobody named it: it goes with the layer */
	struct newfile file;
	int loop;		/* descriptor, -1: none */
	char *number;		/* "7:0" of the device, after interpose_state_open() */
};

#define INTERPOSE_STATE_NONE	{ .file = NEWFILE_CLOSED, .loop = -1 }

/* Choose the path and make nothing yet. interpose_state_close() also after an error. */
int interpose_state_choose(struct interpose_state *state, const struct device *device,
			   const struct interpose_recipe *recipe, const char *given);
/* It lies at @path. interpose_state_close() also after an error. */
int interpose_state_name(struct interpose_state *state, const char *path);
/* Make it: @bytes for a file; a device has at least @least, and its first @clear become zeros. */
int interpose_state_open(struct interpose_state *state, u64 bytes, u64 least, u64 clear);
/* A file at @path, durable, that tells people @text. For prepare() of a change whose state it is. */
int interpose_write_note(const char *path, const char *text);
/* Whoever uses the device keeps it. @discard: a file goes. */
void interpose_state_close(struct interpose_state *state, bool discard);

#endif
