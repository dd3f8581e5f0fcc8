/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The check of a device that is in use: are all clusters counted as often as
 * they are referred to? Reads only, and never stops I/O; check.c says how that
 * can be right.
 *
 * Layer 7, beside io.
 */
#ifndef QCOW2_CHECK_H
#define QCOW2_CHECK_H

#include "chain.h"

enum qcow2_check_state {
	QCOW2_CHECK_NONE,
	QCOW2_CHECK_RUNNING,
	QCOW2_CHECK_DONE,
};

struct qcow2_check_run;

struct qcow2_check {
	struct qcow2_chain *chain;	/* I */
	void (*done)(struct qcow2_check *check); /* I: may not sleep; the result is there */
	struct mutex lock;		/* start and stop */
	bool open;			/* lock: the device is between resume and suspend */
	bool stop;			/* READ_ONCE by the work */
	struct qcow2_check_run *run;	/* lock; the work's while it runs */
	struct work_struct work;
	/* for status, READ_ONCE */
	enum qcow2_check_state state;
	unsigned int percent;
	u64 errors;
	u64 leaks;
};

void qcow2_check_init(struct qcow2_check *check, struct qcow2_chain *chain,
		      void (*done)(struct qcow2_check *check));

/* All below: process context, inside memalloc_noio_save(); may sleep. */

/* resume, postsuspend: from now on one may be started; one that runs is stopped. */
void qcow2_check_open(struct qcow2_check *check);
void qcow2_check_close(struct qcow2_check *check);
/*
 * Messages. start: -EBUSY: one runs, or the device is suspended; -EROFS: the
 * image is not written by this device, an ordinary check can be made; -EIO: the
 * device has failed; -ENOMEM. stop: state is none if one was running.
 */
int qcow2_check_start(struct qcow2_check *check);
void qcow2_check_stop(struct qcow2_check *check);

#endif
