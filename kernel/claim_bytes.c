// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Taking, probing and dropping QEMU's byte locks on an image file.
 *
 * The locks are those of fcntl(F_OFD_SETLK): their owner is the struct file.
 * So the locks of two opens conflict even within one process, they live
 * until the last reference to the file is gone, and on a network file system
 * the I/O through that file fails when the server has taken a lock away.
 */
#include <linux/bitops.h>
#include <linux/file.h>
#include "claim_bytes.h"
#include "dm-qcow2.h"

/* meets: the byte whose holders do not go together with this one's; -1: none */
static const struct {
	unsigned int offset;
	int meets;
} byte_info[QCOW2_NR_BYTES] = {
	[QCOW2_BYTE_READ]	= { 100, QCOW2_BYTE_NO_READ },
	[QCOW2_BYTE_WRITE]	= { 101, QCOW2_BYTE_NO_WRITE },
	[QCOW2_BYTE_RESIZE]	= { 103, QCOW2_BYTE_NO_RESIZE },
	[QCOW2_BYTE_NO_READ]	= { 200, QCOW2_BYTE_READ },
	[QCOW2_BYTE_NO_WRITE]	= { 201, QCOW2_BYTE_WRITE },
	[QCOW2_BYTE_NO_RESIZE]	= { 203, QCOW2_BYTE_RESIZE },
	[QCOW2_BYTE_MAINTENANCE] = { 300, -1 },
	[QCOW2_BYTE_VIEW]	= { 301, -1 },
};

unsigned int qcow2_claim_bytes_offset(enum qcow2_byte byte)
{
	return byte_info[byte].offset;
}

/* The file systems' many ways to say no. */
static int lock_error(int ret)
{
	switch (ret) {
	case FILE_LOCK_DEFERRED:
	case -EACCES:
		return -EAGAIN;
	case -ENOLCK:
	case -EINVAL:
		return -EOPNOTSUPP;
	case -ERESTARTSYS:
		return -EINTR;
	default:
		return ret;
	}
}

static struct file_lock *request_alloc(struct file *file, loff_t start, loff_t end,
				       unsigned char type)
{
	struct file_lock *fl = locks_alloc_lock();

	if (!fl)
		return NULL;
	fl->fl_start = start;
	fl->fl_end = end;
	qcow2_file_lock_set_ofd(fl, file, type);
	return fl;
}

static int set_lock(struct file *file, loff_t start, loff_t end, unsigned char type)
{
	struct file_lock *fl = request_alloc(file, start, end, type);
	int ret;

	if (!fl)
		return -ENOMEM;
	ret = vfs_lock_file(file, F_SETLK, fl, NULL);
	locks_free_lock(fl);
	return lock_error(ret);
}

/* -EAGAIN if another open of the file, anywhere, holds the byte. */
static int probe(struct file *file, enum qcow2_byte byte)
{
	loff_t offset = byte_info[byte].offset;
	struct file_lock *fl = request_alloc(file, offset, offset, F_WRLCK);
	int ret;

	if (!fl)
		return -ENOMEM;
	ret = lock_error(vfs_test_lock(file, fl));
	if (!ret && qcow2_file_lock_type(fl) != F_UNLCK)
		ret = -EAGAIN;
	locks_free_lock(fl);
	return ret;
}

static void unlock_mask(struct file *file, unsigned long mask)
{
	unsigned int byte;
	int ret;

	for_each_set_bit(byte, &mask, QCOW2_NR_BYTES) {
		loff_t offset = byte_info[byte].offset;

		ret = set_lock(file, offset, offset, F_UNLCK);
		if (ret)
			DMWARN("%pD4: cannot unlock byte %lld (%pe)", file, offset, ERR_PTR(ret));
	}
}

/* All or nothing; @failed is the byte that was refused. */
static int lock_mask(struct file *file, unsigned long mask, unsigned int *failed)
{
	unsigned int byte;
	int ret;

	for_each_set_bit(byte, &mask, QCOW2_NR_BYTES) {
		loff_t offset = byte_info[byte].offset;

		ret = set_lock(file, offset, offset, F_RDLCK);
		if (ret) {
			unlock_mask(file, mask & (BIT(byte) - 1));
			*failed = byte;
			return ret;
		}
	}
	return 0;
}

static int probe_mask(struct file *file, unsigned long mask, unsigned int *failed)
{
	unsigned int byte;
	int ret;

	for_each_set_bit(byte, &mask, QCOW2_NR_BYTES) {
		if (byte_info[byte].meets < 0)
			continue;
		*failed = byte_info[byte].meets;
		ret = probe(file, *failed);
		if (ret)
			return ret;
	}
	return 0;
}

void qcow2_claim_bytes_init(struct qcow2_claim_bytes *bytes, struct file *file)
{
	bytes->file = get_file(file);
	bytes->held = 0;
}

void qcow2_claim_bytes_exit(struct qcow2_claim_bytes *bytes)
{
	qcow2_claim_bytes_drop(bytes, bytes->held);
	fput(bytes->file);
	bytes->file = NULL;
}

int qcow2_claim_bytes_take(struct qcow2_claim_bytes *bytes, unsigned int mask,
			   unsigned int *conflict)
{
	unsigned int add = mask & ~bytes->held;
	unsigned int failed = 0;
	int ret;

	ret = lock_mask(bytes->file, add, &failed);
	if (!ret) {
		ret = probe_mask(bytes->file, add, &failed);
		if (ret)
			unlock_mask(bytes->file, add);
	}
	if (ret)
		*conflict = byte_info[failed].offset;
	else
		bytes->held |= add;
	return ret;
}

void qcow2_claim_bytes_drop(struct qcow2_claim_bytes *bytes, unsigned int mask)
{
	unlock_mask(bytes->file, mask & bytes->held);
	bytes->held &= ~mask;
}

int qcow2_claim_bytes_move(struct qcow2_claim_bytes *bytes, struct file *file)
{
	struct file *old = bytes->file;
	unsigned int failed;
	int ret;

	ret = lock_mask(file, bytes->held, &failed);
	if (ret)
		return ret;
	bytes->file = get_file(file);
	unlock_mask(old, bytes->held);
	fput(old);
	return 0;
}
