/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Move a device to another image while it is in use.
 *
 *	before		NAME = qcow2 OLD
 *	meanwhile	NAME = mirror, over NAME.real = qcow2 OLD and NAME.copy = qcow2 NEW (or a raw device)
 *	afterwards	NAME = qcow2 NEW (or linear)
 *
 * The mirror copies all of the disk and sends each write to both. When they are equal, NAME is suspended
 * and gets the new image's own table, whose claim NAME.copy hands over. The kernel lets an image go only
 * between NAME and NAME.real; so before that the part with the old image becomes NAME.frozen, which it is
 * from then on, and the other one NAME.real.
 *
 * With dm-clone instead of the mirror all writes go to the new image alone, from the first moment on. So
 * there is no way back from there, not by a signal either: whoever is there goes on to the end.
 *
 * With the mirror, up to that point all that goes wrong ends with the old image, and the new one is
 * gone. What goes wrong with the tool itself: guard.h.
 *
 * Functions print their error and return an exit code.
 */
#ifndef QCOW2CTL_MOVE_H
#define QCOW2CTL_MOVE_H

#include <stdbool.h>
#include <linux/types.h>
#include "image.h"

struct move_request {
	const char *name, *dest;
	const char *format, *via;	/* or NULL */
	const char *progress;
	u64 bwlimit;			/* bytes in a second, or CLI_UNSET */
	u64 timeout;			/* seconds, or CLI_UNSET */
};

int move_device(const struct move_request *request);

/* Has the device layer clone? That cannot be taken out: its device goes on to where the layer has brought it. */
bool move_is_begun(const char *name);
/* Take it there, if all is copied. */
int move_finish(const char *name, unsigned int seconds);

/* Say in the header of @image that what it holds has moved to @dest; only warns if that cannot be. */
void move_mark(const char *image, const char *dest);
/*
 * The same for one that NAME has left just before the machine went down, if so, as the copy of NAME.intent
 * knows. Returns where it has moved to, for the caller to free; or NULL.
 */
char *move_catch_up(const char *name, const char *image);
/*
 * Had dm-clone brought a part of NAME's disk elsewhere when the device went? Returns the file that knows which, for the
 * caller to free; or NULL.
 */
char *move_left_half(const char *name, const char *image);
/* Where it has moved to, for the caller to free; or NULL. The header is verified. */
char *move_mark_of(const struct image *image);

/* What the parts know of each other. */

struct move_mirror {
	u64 done, total;	/* regions */
	bool source, copy;	/* alive */
};

/* Negative errno. */
int move_mirror_look(const char *name, struct move_mirror *mirror);
/* The same for dm-clone. */
int move_clone_look(const char *name, struct move_mirror *clone);
/* Wait until the mirror or dm-clone has copied everything, in regions of so many bytes. */
int move_copy_wait(const struct move_request *request, u64 region, bool clone);
/* Bytes of a region for this rate. */
u64 move_mirror_region(u64 bwlimit);

#endif
