/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Other programs.
 */
#ifndef QCOW2CTL_PROGRAM_H
#define QCOW2CTL_PROGRAM_H

/* The path of a program of the system, for the caller to free, or NULL. */
char *program_find(const char *name);

#endif
