/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Layers between the users of a device and its image, put in and taken out while it is in use.
 *
 * Before:	NAME = qcow2			With a layer:	NAME = layer
 *						NAME.real = qcow2 (private)
 *						NAME.frozen = a point in time (layer snapshot)
 *
 * Insert: NAME.real gets NAME's own table and NAME the layer's, both inactive; suspend NAME, hand the
 * image over to NAME.real, resume that, then NAME. Remove is the mirror image: NAME gets the table of
 * NAME.real; suspend NAME, then NAME.real, hand over to NAME, resume it. The image has one owner at any
 * time, by its claim, and what was suspended is complete on disk: so there is no moment in which two
 * know of it. What goes wrong in between: guard_stack.c.
 *
 * Functions print their error and return an exit code.
 */
#ifndef QCOW2CTL_INTERPOSE_H
#define QCOW2CTL_INTERPOSE_H

#include <stdbool.h>
#include "device.h"

/* Layer snapshot copies so much at once: a cluster of most images. */
#define INTERPOSE_CHUNK_SECTORS	128

struct interpose_request {
	const char *name, *layer;
	bool nolockfs;
	u64 timeout;
	/* options of the layers; NULL or CLI_UNSET: not given */
	u64 ms, up, down, block, cow_size;
	const char *state, *cow, *to, *table;
};

int interpose_insert(const struct interpose_request *request);
/* Only name, nolockfs and timeout count. */
int interpose_remove(const struct interpose_request *request);
int interpose_list(bool json);

/* A private device @name of @device, without a table; @end is that of its uuid. */
int interpose_create_part(const struct device *device, const char *name, const char *end,
			  struct dm_device *part);
/* A table that is to be live after the next resume. */
int interpose_load(const struct dm_device *dm, const char *target, u64 sectors,
		   const char *params, bool readonly);

/* What the parts know of each other. */

/* What a table line is made of. */
struct interpose_place {
	u64 sectors;
	const char *real;	/* "253:4" */
	const char *state;	/* "7:0", or NULL */
	const char *to;		/* likewise, of a layer that goes there */
};

struct interpose_recipe {
	const char *name;	/* on the command line */
	const char *target;	/* NULL: the user says it */
	const char *module;
	const char *state;	/* option that names the state, NULL: it keeps none */
	bool freezes;		/* the point in time matters: the file system is made consistent */
	bool measures;		/* its constructor wants to know how large NAME.real is */
	bool writes;		/* of no use on a read-only device */
	bool has_frozen;
	bool goes;		/* to the place that --to names: there is no way back */
	/* For the user to choose from. */
	unsigned int options;
	/* Bytes of a new state file, and of the least device. */
	u64 (*bytes)(const struct interpose_request *request, u64 sectors);
	u64 (*least)(const struct interpose_request *request, u64 sectors);
	u64 clear;		/* so many bytes of a device become zeros */
	/* Table line behind the target's name, for the caller to free. */
	char *(*params)(const struct interpose_request *request,
			const struct interpose_place *place);
};

/* The layer that is called so, or ERR_USAGE, also for options that it does not have. */
int interpose_find(const struct interpose_request *request, const struct interpose_recipe **recipe);
/* The name of the layer with this target. */
const char *interpose_name(const char *target);
/* Is @target there, perhaps of module @known? @name is for messages. */
int interpose_need_target(const char *name, const char *target, const char *known);
/* May a layer come? @writer: what it is called, if it is of no use on a read-only device; or NULL. */
int interpose_check_device(const struct device *device, const char *writer);
/* Let @part have a target that cannot do anything wrong, until the image gets there. */
int interpose_measure(const struct dm_device *part, u64 sectors);
/* Is @name live, not suspended, of the right size, with @target? Negative errno; prints nothing. */
int interpose_is_live(const char *name, const char *target, u64 sectors);
/* Is @name suspended, and all its data in the image? 0 or a negative errno; prints nothing. */
int interpose_is_parked(const char *name, bool writable);
/* The name of the @i-th layer that keeps a state, or NULL. */
const char *interpose_with_state(size_t i);
/*
 * Where @layer of @device keeps its state if nobody says another place; then that of clone has a note
 * there, since without it nobody would know after a reboot. For the caller to free.
 */
char *interpose_default_state(const struct device *device, const char *layer);
/* The file under the state of a layer, for the caller to free; NULL: none, or a device. *@own: it is ours. */
char *interpose_find_state(const struct dm_device *dm, bool *own);
/* For the guard. */
unsigned int interpose_seconds(const struct interpose_request *request);
/* Path of the state that @request names, or NULL. */
const char *interpose_state_path(const struct interpose_recipe *recipe,
				 const struct interpose_request *request);

#endif
