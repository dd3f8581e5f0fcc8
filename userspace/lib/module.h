/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/* Kernel modules. */
#ifndef QCOW2CTL_MODULE_H
#define QCOW2CTL_MODULE_H

/* Ask modprobe for @name. Prints nothing; whether it worked shows elsewhere. */
void module_load(const char *name);

#endif
