/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Detach a device: away with it, or who keeps it.
 */
#ifndef QCOW2CTL_DETACH_H
#define QCOW2CTL_DETACH_H

#include <stdbool.h>
#include <linux/types.h>

/*
 * Wait up to @seconds until nobody uses the device and remove it with its
 * partition maps; @deferred leaves that to the last user's close if it is in
 * use still. Prints and returns an exit code.
 */
int detach_device(const char *name, bool deferred, u64 seconds);

#endif
