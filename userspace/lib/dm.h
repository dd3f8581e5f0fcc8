/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Device mapper through libdevmapper; the only file that knows it.
 *
 * All functions return 0 or a negative errno and print nothing. -ENXIO means
 * that there is no such device, -ENODEV that the kernel has no device mapper
 * or does not let us use it at all.
 *
 * Where udev runs, changes of nodes belong to one transaction: dm_settle()
 * waits until udev has done them all. Without udev libdevmapper makes the
 * nodes itself, at once.
 */
#ifndef QCOW2CTL_DM_H
#define QCOW2CTL_DM_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define DM_MAX_NAME	127
#define DM_MAX_UUID	128

struct dm_device {
	char *name;
	char *uuid;		/* "" if it has none */
	unsigned int major, minor;
	u64 sectors;		/* of the live table */
	int open_count;
	u32 event_number;	/* grows with every event of the device */
	bool live, inactive;	/* has it such a table? */
	bool suspended;
	bool readonly;
	bool deferred;		/* removed when the last user closes it */
	char *target;		/* of the live table's first target, NULL without table */
	char *table;		/* its parameters */
	char *status;		/* its status line; NULL where a suspended target cannot say it */
};

/* @device is for dm_release() also after an error. */
int dm_query(const char *name, struct dm_device *device);
int dm_query_number(unsigned int major, unsigned int minor, struct dm_device *device);
void dm_release(struct dm_device *device);
/* Names of all devices, NULL-terminated (NULL if there are none), for mem_free_strings(). */
int dm_names(char ***names);
/* Version of a registered target, or -ENOENT. */
int dm_target_version(const char *target, unsigned int version[3]);

/* A device without a table; -EBUSY if the name or the uuid is taken. */
int dm_create(const char *name, const char *uuid);
/* One target over all of it as the inactive table. */
int dm_load(const char *name, const char *target, u64 sectors, const char *params, bool readonly);
int dm_resume(const char *name);
/* Resume a device that has its node already; no dm_settle() is needed. */
int dm_resume_only(const char *name);
/*
 * Resume a device that is a part of another one: udev makes no more of it than a node, and blkid never
 * looks at it. Without udev it gets no node. Opens and allocates nothing after dm_prepare().
 */
int dm_resume_private(const char *name);
/* What dm_resume_private() needs. */
void dm_prepare(void);
/* The node of a device that has none yet, without udev. */
void dm_make_node(const char *name);
/* The same for a table that is loaded and a device that runs: suspended as dm_suspend() does it. */
int dm_swap(const char *name, bool freeze);
/*
 * @freeze: the file system on it is made consistent first. @flush: what is in
 * flight is finished, else it waits for the resume. -EINTR: a signal came, and the device runs.
 */
int dm_suspend(const char *name, bool freeze, bool flush);
/* Another name for a device that is a part of another one; see dm_resume_private(). */
int dm_rename(const char *name, const char *other);
/* Forget the inactive table. */
int dm_clear(const char *name);
/* A message to the target at sector 0. */
int dm_message(const char *name, const char *text);
/* Remove at once, or (@deferred) when the last user closes it. */
int dm_remove(const char *name, bool deferred);
/* Wait until the nodes are what the changes so far made of them; after every change. */
void dm_settle(void);

#endif
