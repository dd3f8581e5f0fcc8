/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The devices that are ours: those that qcow2ctl made (by their uuid), also
 * while a layer stands over the image, and qcow2 tables loaded by hand. The
 * private ones (NAME.real, NAME.frozen, NAME.copy) are part of the device NAME.
 *
 * Functions returning int give 0 or a negative errno and print nothing, unless
 * they say otherwise. -ENXIO: no device of this name, or none of ours.
 */
#ifndef QCOW2CTL_DEVICE_H
#define QCOW2CTL_DEVICE_H

#include <stdbool.h>
#include <sys/types.h>
#include "dm.h"
#include "image.h"
#include "out.h"
#include "status.h"
#include "table.h"

#define DEVICE_UUID_PREFIX	"QCOW2-"
#define DEVICE_TARGET		"qcow2"

struct device {
	struct dm_device dm;
	char *path;		/* /dev/mapper/NAME */
	char *number;		/* "253:3" */
	u64 size;		/* bytes */
	u64 open;
	char **partitions;	/* paths of the partition maps, in order */
	char **partition_names;
	char *layer;		/* target type that stands over the image, or NULL */
	struct table table;	/* of target qcow2; empty without one */
	char *image;		/* path of the top layer, or NULL */
	struct status status;
};

/* What attach prints, and all that list prints. */
extern const struct out_field device_fields[];
extern const struct out_field device_list_fields[];

/* Is it a part of another device of ours? By its name and uuid; @dm may be that of a query that failed. */
bool device_is_private(const struct dm_device *dm);
/* Does it show a snapshot as NAME.frozen, a point in time? A layer's part of that name has another target. */
bool device_shows_point(const struct dm_device *dm);
int device_get(const char *name, struct device *device);
int device_get_number(unsigned int major, unsigned int minor, struct device *device);
void device_release(struct device *device);
/* All of them; the array is for device_release_list(). */
int device_list(struct device **devices, size_t *count);
void device_release_list(struct device *devices, size_t count);

/* Print why device_get() failed and return the exit code. Without a device mapper no device has this name. */
int device_fail(int ret, const char *name);

/* The snapshot that the device is a view of, as the table has it, or NULL. */
const char *device_view(const struct device *device);
/* Is the image one of the device's layers? 0 for the top, -1 for no. */
int device_layer_of(const struct device *device, const struct image *image);
/* Who has the image and takes messages for it: NAME, below a layer NAME.real; for the caller to free. */
char *device_target_name(const struct device *device);
/* The path of its external data file, as the table has it, or NULL. */
const char *device_data_file(const struct device *device);
/* Is @image, a file of any content, that file? */
bool device_has_data_file(const struct device *device, const struct image *image);

/* A name that another device does not get after a reboot: /dev/mapper/NAME for a mapped device's node; to be freed. */
char *device_lasting_path(const char *path);

/* Can a device be called that? Prints the reason and returns ERR_USAGE if not. */
int device_check_name(const char *name);

#endif
