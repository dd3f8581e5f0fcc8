/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Loop devices over files that a layer keeps its state in. Each goes with its last user, so nothing
 * has to be taken away when a layer is gone.
 */
#ifndef QCOW2CTL_LOOP_H
#define QCOW2CTL_LOOP_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Put a loop device over the file @fd: its descriptor, and its number in *@device. @own: the file is
 * ours to delete. Negative errno.
 */
int loop_attach(int fd, bool own, dev_t *device);
/* The path of the file under a loop device, for the caller to free; NULL: it is none. *@own as above. */
char *loop_file(dev_t device, bool *own);

#endif
