/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Devices that an edit has left suspended, because its guardian was killed too.
 */
#ifndef QCOW2CTL_RECOVER_H
#define QCOW2CTL_RECOVER_H

/*
 * Resume @name, or all of them (NULL). Nothing to do is no error. Prints its
 * error and returns an exit code.
 */
int recover_devices(const char *name);

#endif
