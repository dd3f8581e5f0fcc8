/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Where two states of one image differ, by their mappings: a snapshot's clusters are not written in
 * place as long as it is there, so what has the same place has the same content.
 */
#ifndef QCOW2CTL_BACKUP_DIFFER_H
#define QCOW2CTL_BACKUP_DIFFER_H

#include "backup_ranges.h"
#include "image.h"

/*
 * From snapshot @from to snapshot @to (NULL: the image as it is), of a verified image whose mapping
 * does not change meanwhile. Prints its error and returns an exit code.
 */
int backup_differ(const struct image *image, const char *from, const char *to,
		  struct backup_ranges *changes);

#endif
