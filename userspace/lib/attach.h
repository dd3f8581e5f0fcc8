/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Attach an image: from a path to a device that can be mounted.
 */
#ifndef QCOW2CTL_ATTACH_H
#define QCOW2CTL_ATTACH_H

#include <stdbool.h>
#include "chain.h"
#include "device.h"

struct attach_request {
	struct chain_request chain;
	const char *name;
	const char *snapshot;		/* a view of this one, readonly too; or NULL */
	bool readonly;
	bool drop_bitmaps;
	bool partscan;
	/* table options; NULL or CLI_UNSET = the target's default */
	u64 cache, low_water, full_timeout, commit_ms;
	const char *when_full, *discard;
};

/* Is the name good and free? Prints and returns an exit code. */
int attach_check_name(const char *name);

/* Remove what a KILL of an attach has left of @name: a device without a table. Its lock is held. 0 or an exit code. */
int attach_clear_remains(const char *name);

/*
 * Check, load, resume; the node is there when it returns. @device describes
 * what was made and is for device_release(). Prints and returns an exit code;
 * after an error nothing is left.
 */
int attach_image(const struct attach_request *request, struct device *device);

#endif
