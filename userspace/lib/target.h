/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * TARGET of a command line: an attached device or an image. Without '/' it is
 * a device's name. With '/' it is a device if the node is one of ours, else an
 * image.
 */
#ifndef QCOW2CTL_TARGET_H
#define QCOW2CTL_TARGET_H

#include "device.h"
#include "image.h"

struct target {
	struct image image;	/* of the device's top layer, or as given; verified */
	char *device;		/* name of the device that has the image in its chain, or NULL */
	bool is_device;		/* it is that device that was asked for */
	bool is_held;		/* the device is suspended until target_close() */
};

/* Prints and returns an exit code; target_close() also after an error. */
int target_open(struct target *target, const char *text);
/* For image_verify_damaged(). */
int target_open_damaged(struct target *target, const char *text);
/* 0, or the code of an error about the device, after a message. */
int target_close(struct target *target);

#endif
