/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The check of a device that is in use: the kernel makes it, and this waits.
 */
#ifndef QCOW2CTL_CHECK_ONLINE_H
#define QCOW2CTL_CHECK_ONLINE_H

#include <linux/types.h>

struct check_online {
	u64 errors, leaks, clusters;
};

/*
 * The device whose kernel has to check @target, for the caller to free; NULL if nobody writes to it,
 * so that it can be read. Prints its error.
 */
int check_online_device(const char *target, char **device);
/* Check it. Prints its error and returns an exit code. */
int check_online(const char *device, struct check_online *result);

#endif
