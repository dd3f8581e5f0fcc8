/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What the kernel said about a table that it refused. The errno of an ioctl is
 * one number; the sentence with the values is in the kernel's log.
 */
#ifndef QCOW2CTL_KMSG_H
#define QCOW2CTL_KMSG_H

/* Stand at the end of the log; -1 if it cannot be read. */
int kmsg_open(void);
/*
 * What target qcow2 said since kmsg_open() about device @major:@minor, as one
 * sentence for the caller to free; NULL if it said nothing. Closes @fd.
 */
char *kmsg_sentence(int fd, unsigned int major, unsigned int minor);

#endif
