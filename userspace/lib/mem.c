// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Allocation that ends the process when there is none; memory that stays.
 */
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "err.h"
#include "mem.h"

#define ALIGNMENT	4096
#define STACK_BYTES	(256U << 10)

static bool is_locked;

static void *checked(void *pointer)
{
	if (!pointer)
		exit(err_fail(ERR_FAILED, NULL, "out of memory"));
	return pointer;
}

void *mem_zalloc(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

void *mem_aligned(size_t size)
{
	size_t bytes = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	void *memory = checked(aligned_alloc(ALIGNMENT, bytes ? bytes : ALIGNMENT));

	return memset(memory, 0, bytes);
}

void *mem_resize(void *array, size_t count, size_t wanted, size_t size)
{
	char *resized;

	if (wanted > SIZE_MAX / size)
		checked(NULL);
	resized = checked(realloc(array, wanted * size));
	if (wanted > count)
		memset(resized + count * size, 0, (wanted - count) * size);
	return resized;
}

void *mem_grow(void *array, size_t count, size_t size)
{
	/* Doubling at powers of two: grown one by one, copied a few times. */
	if (count & (count - 1))
		return array;
	if (count > SIZE_MAX / 2 / size)
		return checked(NULL);
	return checked(realloc(array, (count ? 2 * count : 1) * size));
}

int mem_lock(size_t bytes)
{
	char stack[STACK_BYTES];
	void *heap;

	explicit_bzero(stack, sizeof(stack));
	/* One heap that never shrinks, so that what is freed here is found again. */
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, -1);
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		return -errno;
	is_locked = true;
	heap = malloc(bytes);
	if (!heap)
		return -ENOMEM;
	free(heap);
	return 0;
}

void mem_unlock(void)
{
	munlockall();
	is_locked = false;
}

bool mem_is_locked(void)
{
	return is_locked;
}

char *mem_strdup(const char *text)
{
	return checked(strdup(text));
}

char *mem_strndup(const void *text, size_t len)
{
	char *copy = mem_zalloc(len + 1);

	memcpy(copy, text, len);
	return copy;
}

char *mem_printf(const char *format, ...)
{
	char *text;
	va_list args;
	int ret;

	va_start(args, format);
	ret = vasprintf(&text, format, args);
	va_end(args);
	return checked(ret < 0 ? NULL : text);
}

void mem_freep(void *pointer)
{
	free(*(void **)pointer);
}

void mem_add_string(char ***strings, char *text)
{
	size_t count = 0;

	while (*strings && (*strings)[count])
		count++;
	*strings = mem_grow(*strings, count + 1, sizeof(**strings));
	(*strings)[count] = text;
	(*strings)[count + 1] = NULL;
}

void mem_free_strings(char **strings)
{
	size_t i;

	for (i = 0; strings && strings[i]; i++)
		free(strings[i]);
	free(strings);
}
