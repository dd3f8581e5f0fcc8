/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * One qcow2ctl at a time works on a device name: /run/qcow2ctl/NAME.lock.
 */
#ifndef QCOW2CTL_RUN_H
#define QCOW2CTL_RUN_H

#include <stdbool.h>

#define RUN_FOLDER	"/run/qcow2ctl"

/* Wait up to @seconds for the name. *@fd holds it; an exit code after a message otherwise. */
int run_lock(const char *name, unsigned int seconds, int *fd);
/* Has anybody the name now? Prints nothing. */
bool run_is_locked(const char *name);
void run_unlock(const char *name, int fd);

/*
 * NAME.mount: mount.qcow2 has that locked from before its attach until its device is marked for removal. One that
 * nobody has is of a mount that was killed between. Returns its file, locked, for run_forget_mount(), or -1.
 */
int run_lost_mount(const char *name);
void run_forget_mount(const char *name, int fd);

#endif
