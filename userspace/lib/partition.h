/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Partition maps: one linear device NAMEp<number> for each partition on NAME,
 * because the kernel itself never scans a dm device.
 */
#ifndef QCOW2CTL_PARTITION_H
#define QCOW2CTL_PARTITION_H

#include "device.h"

/* Make maps for all partitions found; all or none. Prints and returns an exit code. */
int partition_add(const struct device *device);
/* Remove the maps that the device has; 0 or a negative errno, some may be gone then. */
int partition_remove(const struct device *device, bool deferred);
/* Before a point in time of device NAME: warn if somebody uses a map, since what is on that is not frozen with NAME. */
void partition_warn(const char *name);

#endif
