/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Memory that is always there: a short-lived tool cannot go on without it, so
 * these end the process with a message instead of returning NULL. And memory
 * that stays where it is, for as long as a device is suspended.
 */
#ifndef QCOW2CTL_MEM_H
#define QCOW2CTL_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* A local pointer that is freed when its scope ends. */
#define MEM_FREE __attribute__((__cleanup__(mem_freep)))

void *mem_zalloc(size_t size);
/* Zeroed and aligned for direct I/O; for free(). */
void *mem_aligned(size_t size);
/* An array of @count elements of @size bytes becomes one of @wanted, the new ones zeroed. */
void *mem_resize(void *array, size_t count, size_t wanted, size_t size);
/* Make room for one more element of @size bytes behind the @count that there are. */
void *mem_grow(void *array, size_t count, size_t size);
/*
 * What the stack and, with @bytes, the heap will need is there from now on, and none of it leaves
 * memory until mem_unlock(). 0 or negative errno.
 */
int mem_lock(size_t bytes);
void mem_unlock(void);
bool mem_is_locked(void);
char *mem_strdup(const char *text);
/* @len bytes as a string; bytes behind an embedded NUL are there and not seen. */
char *mem_strndup(const void *text, size_t len);
char *mem_printf(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));
void mem_freep(void *pointer);
/* Put @text, which the array owns then, at the end of a NULL-terminated one (or NULL). */
void mem_add_string(char ***strings, char *text);
/* Free a NULL-terminated array of strings. */
void mem_free_strings(char **strings);

#endif
