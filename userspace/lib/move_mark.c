// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The mark of an image whose disk has moved to another one.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "interpose.h"
#include "mem.h"
#include "move.h"
#include "rebase.h"

void move_mark(const char *image, const char *dest)
{
	if (dest && rebase_mark_moved(image, dest))
		err_warn(image, "it could not be marked: do not use it any more, its disk is in %s now",
			 dest);
}

char *move_catch_up(const char *name, const char *image)
{
	MEM_FREE char *copy = guard_copy_path(name, image);
	struct guard_line line = { 0 };
	char *dest = NULL;

	if (copy && guard_is_stale(copy, &line) && line.turned && line.moves && line.state &&
	    guard_is_about(&line, image)) {
		dest = mem_strdup(line.state);
		if (!rebase_mark_moved(image, dest))
			unlink(copy);
	}
	guard_release_line(&line);
	return dest;
}

char *move_left_half(const char *name, const char *image)
{
	struct device device = { .dm.name = (char *)name, .image = (char *)image };
	MEM_FREE char *copy = guard_copy_path(name, image);
	char *state = interpose_default_state(&device, "clone");
	struct guard_line line = { 0 };
	struct stat st;

	/* That of a move. The layer alone leaves its state. */
	if (copy)
		guard_is_stale(copy, &line);
	if (line.moves && line.next && line.state) {
		free(state);
		state = guard_clone_path(name, &line);
	} else if (stat(state, &st) || !S_ISREG(st.st_mode)) {
		free(state);
		state = NULL;
	}
	guard_release_line(&line);
	return state;
}

char *move_mark_of(const struct image *image)
{
	struct qcow2_string data;
	u32 pos = 0, type;

	while (qcow2_extension_next(image->cluster, image->cluster_len, &image->header, &pos, &type,
				    &data)) {
		if (type == REBASE_EXT_MOVED)
			return image_string(image, &data);
	}
	return NULL;
}
