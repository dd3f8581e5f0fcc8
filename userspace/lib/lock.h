/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The byte locks by which QEMU, the kernel target and this tool keep each
 * other off an image. Rules: Documentation/design.rst, "Claims".
 */
#ifndef QCOW2CTL_LOCK_H
#define QCOW2CTL_LOCK_H

#include <stdbool.h>

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
/*
 * The bytes by which the kernel and this tool tell each other who owns the
 * metadata: an edit write-locks LOCK_OWNER, one that frees or replaces what a
 * snapshot refers to also LOCK_GRAPH. @fd is open for writing. Returns as
 * lock_take() does.
 */
#define LOCK_OWNER	300
#define LOCK_GRAPH	301
int lock_take_edit(int fd, bool graph);
/* The bytes of @role beside whoever has them already: 0 or negative errno. */
int lock_share(int fd, enum lock_role role);
/* Let go of all that @fd holds. */
void lock_drop(int fd);
/* Does anybody (but @fd) hold @byte in any way? 1, 0, or negative errno. */
int lock_is_held(int fd, short byte);
/* Is an edit by someone else under way? LOCK_OWNER, 0, or negative errno. */
int lock_probe_edit(int fd);

#endif
