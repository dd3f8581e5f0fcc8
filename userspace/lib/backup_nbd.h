/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A frozen point for whoever reads it over NBD, by nbdkit.
 *
 * Functions print their error and return an exit code.
 */
#ifndef QCOW2CTL_BACKUP_NBD_H
#define QCOW2CTL_BACKUP_NBD_H

#include "backup_point.h"

/* Is the program there, and the path free? */
int backup_nbd_check(const struct backup_request *request);
/*
 * Until INT, TERM or HUP, which are blocked with CHLD: that is the good end. The deadline or the end of
 * the server is none.
 */
int backup_nbd_serve(const struct backup_point *point);

#endif
