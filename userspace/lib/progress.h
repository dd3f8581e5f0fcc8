/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * How far long work has come, on stderr, and how it is interrupted: a signal
 * (INT, TERM, HUP) ends it at its next step, before anything that counts has
 * been written or after all of it.
 */
#ifndef QCOW2CTL_PROGRESS_H
#define QCOW2CTL_PROGRESS_H

#include <linux/types.h>

/*
 * Begin, perhaps inside of other work that has begun and ends later; @form is
 * what --progress says: "auto" (or NULL: a bar if stderr is a terminal), "json"
 * (lines {"step":...,"done":...,"total":...}) or "none".
 */
void progress_start(const char *form, const char *subject);
/* What is done now. */
void progress_phase(const char *step);
/* @done of @total; not 0: the user wants it to end, which was said. */
int progress_step(u64 done, u64 total);
/* From here on nothing is interrupted any more, for the work will be complete. */
void progress_commit(void);
/* The bar makes place for other words; the next step shows it again. */
void progress_clear(void);
/* The end, for each start, when the device runs again: from here on a signal kills. */
void progress_end(void);

#endif
