/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Strings that come from outside, made fit to be shown. All results are for
 * the caller to free.
 */
#ifndef QCOW2CTL_TEXT_H
#define QCOW2CTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define TEXT_LETTERS	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define TEXT_DIGITS	"0123456789"

/* Valid UTF-8 without control characters; what is not becomes \xNN. */
char *text_printable(const char *text);
/* One word of a shell command, quoted where it has to be. */
char *text_shell(const char *word);
/* "10G", "1.5M", "512B": three digits and a unit of 1024. */
char *text_bytes(u64 bytes);
/* The first line of a file, without its end; NULL if it cannot be read. */
char *text_first_line(const char *path);
/* Has it bytes that no path of a table line may have? */
bool text_has_control(const char *text);

#endif
