/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The byte locks of one inode: QEMU's permission bytes and our own two, all
 * read locks of one open file description.
 *
 * Layer 1. The caller serialises all calls for one object, may sleep, and is
 * inside memalloc_noio_save(): a lock call of a network file system is a
 * request to its server.
 */
#ifndef QCOW2_CLAIM_BYTES_H
#define QCOW2_CLAIM_BYTES_H

#include <linux/bits.h>
#include <linux/fs.h>

/*
 * A user of an image holds, for each permission p, byte 100 + p if it uses
 * the permission, and byte 200 + p if it does not let others use it. Nobody
 * ever holds a QEMU byte for writing; who wants 100 + p holds it and then
 * looks whether somebody else holds 200 + p, and the other way round.
 */
enum qcow2_byte {
	QCOW2_BYTE_READ,	/* 100 */
	QCOW2_BYTE_WRITE,	/* 101 */
	QCOW2_BYTE_RESIZE,	/* 103 */
	QCOW2_BYTE_NO_READ,	/* 200 */
	QCOW2_BYTE_NO_WRITE,	/* 201 */
	QCOW2_BYTE_NO_RESIZE,	/* 203 */
	QCOW2_BYTE_MAINTENANCE,	/* 300: the kernel owns the metadata; a tool write-locks it */
	QCOW2_BYTE_VIEW,	/* 301: a snapshot is in use; a tool that frees write-locks it */
	QCOW2_NR_BYTES,
};

#define QCOW2_BYTES_READER	(BIT(QCOW2_BYTE_READ) | BIT(QCOW2_BYTE_NO_WRITE) | \
				 BIT(QCOW2_BYTE_NO_RESIZE))
#define QCOW2_BYTES_WRITER	(QCOW2_BYTES_READER | BIT(QCOW2_BYTE_WRITE) | \
				 BIT(QCOW2_BYTE_RESIZE))

struct qcow2_claim_bytes {
	struct file *file;	/* owns the locks; a reference is held */
	unsigned int held;	/* mask of enum qcow2_byte */
};

void qcow2_claim_bytes_init(struct qcow2_claim_bytes *bytes, struct file *file);
/* Unlocks explicitly: a final fput() does not reach every server. */
void qcow2_claim_bytes_exit(struct qcow2_claim_bytes *bytes);

/*
 * Hold the bytes of @mask too, and look for users that do not go together
 * with them. All or nothing. -EAGAIN: @conflict is the number of the byte that
 * somebody else holds. -EOPNOTSUPP: the file system has no byte locks. -EINTR.
 */
int qcow2_claim_bytes_take(struct qcow2_claim_bytes *bytes, unsigned int mask,
			   unsigned int *conflict);
/* Bytes of @mask that are not held are left alone. */
void qcow2_claim_bytes_drop(struct qcow2_claim_bytes *bytes, unsigned int mask);
/* Hold the same bytes through @file, another open of the same inode, without a gap. */
int qcow2_claim_bytes_move(struct qcow2_claim_bytes *bytes, struct file *file);

/* Where in the file the byte lies, for messages. */
unsigned int qcow2_claim_bytes_offset(enum qcow2_byte byte);

#endif
