/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The byte locks by which QEMU, the kernel target and this tool keep each
 * other off an image. Rules: Documentation/design.rst, "Claims".
 */
#ifndef QCOW2CTL_LOCK_H
#define QCOW2CTL_LOCK_H

enum lock_role {
	LOCK_READER,
	LOCK_WRITER,
};

/*
 * The first byte that somebody else holds against @role, 0 if the image is
 * free, negative errno. @fd may be read-only. Changes no lock.
 */
int lock_probe(int fd, enum lock_role role);
/* Hold the bytes of @role until @fd is closed. 0, a byte as above, or negative errno. */
int lock_take(int fd, enum lock_role role);

#endif
