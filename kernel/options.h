/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The table line: layers and options, read and printed from one table.
 *
 * Layer 8, below target and status.
 */
#ifndef QCOW2_OPTIONS_H
#define QCOW2_OPTIONS_H

#include "target.h"

/*
 * Read "<#layers> {qcow2|raw <path>}... [<#words> <word>...]". The array of
 * layers is for the caller to free; the paths point into @argv. Errors set
 * *@error to a sentence.
 */
int qcow2_options_parse(struct qcow2_options *options, struct qcow2_layer **layers,
			unsigned int *nr_layers, unsigned int argc, char **argv,
			const char **error);
/* Print the options that are not the default, with their count, or nothing. */
unsigned int qcow2_options_print(const struct qcow2_options *options, char *result,
				 unsigned int maxlen);
/* Print @word with backslash and blanks quoted as the table wants it. */
unsigned int qcow2_options_print_word(const char *word, char *result, unsigned int maxlen);

#endif
