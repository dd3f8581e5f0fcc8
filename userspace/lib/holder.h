/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Who keeps a device or a lock: mounts in every mount namespace, swap, other
 * block devices, processes. All by name, for messages; prints nothing.
 */
#ifndef QCOW2CTL_HOLDER_H
#define QCOW2CTL_HOLDER_H

#include <sys/stat.h>
#include <sys/types.h>

/*
 * Texts such as "mounted on /mnt (mount namespace of pid 4711)" about the
 * users of any of the @count block devices, added to the NULL-terminated
 * *@holders.
 */
void holder_mounts(const dev_t *devices, size_t count, char ***holders);
void holder_devices(dev_t device, char ***holders);
void holder_processes(const dev_t *devices, size_t count, char ***holders);

/* The process that holds byte @byte of the file, "name (pid 4711)", or NULL. */
char *holder_of_byte(const struct stat *file, unsigned int byte);

#endif
