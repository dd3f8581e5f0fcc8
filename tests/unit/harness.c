// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/* The main program of the unit tests: runs them and prints KTAP. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "harness.h"

#define TEST_SECONDS	30
#define EXIT_SKIP	4
#define NOTE_SIZE	256

enum { PASS, FAIL, SKIP, NR_RESULTS };

static struct test *tests;
static struct test **tail = &tests;
static char *note;		/* shared with the test's process */

void test_register(struct test *test)
{
	*tail = test;
	tail = &test->next;
}

void test_note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(note, NOTE_SIZE, format, args);
	va_end(args);
}

void test_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(note, NOTE_SIZE, format, args);
	va_end(args);
	exit(EXIT_SKIP);
}

void test_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	printf("# %s:%d: ", file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(EXIT_FAILURE);
}

void *test_buffer(const void *data, size_t len)
{
	unsigned char *buffer = calloc(1, len ? len : 16);

	if (!buffer)
		test_fail(__FILE__, __LINE__, "out of memory");
	if (!len)
		return buffer + 16;	/* not even one byte may be read */
	if (data)
		memcpy(buffer, data, len);
	return buffer;
}

void test_put(void *field, size_t bytes, uint64_t value)
{
	unsigned char *byte = field;

	while (bytes--) {
		byte[bytes] = value;
		value >>= 8;
	}
}

static int run(const struct test *test)
{
	int status;
	pid_t pid;

	note[0] = '\0';
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("# fork");
		return FAIL;
	}
	if (!pid) {
		alarm(TEST_SECONDS);
		test->run();
		exit(EXIT_SUCCESS);
	}
	if (waitpid(pid, &status, 0) != pid)
		return FAIL;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
		return PASS;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP)
		return SKIP;
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	if (note[0])
		printf("# with %s\n", note);
	return FAIL;
}

static bool wanted(const struct test *test, char **words)
{
	if (!*words)
		return true;
	for (; *words; words++) {
		if (strstr(test->name, *words))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	unsigned int nr = 0, count[NR_RESULTS] = { 0 };
	const struct test *test;
	bool list = argc > 1 && !strcmp(argv[1], "-l");
	char **words = argv + (list ? 2 : 1);
	int result;

	note = mmap(NULL, NOTE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (note == MAP_FAILED) {
		perror("mmap");
		return EXIT_FAILURE;
	}
	for (test = tests; test; test = test->next) {
		if (!wanted(test, words))
			continue;
		nr++;
		if (list)
			printf("%s\n", test->name);
	}
	if (list)
		return EXIT_SUCCESS;
	if (!nr) {
		fprintf(stderr, "no test has such a name\n");
		return EXIT_FAILURE;
	}

	printf("KTAP version 1\n1..%u\n", nr);
	nr = 0;
	for (test = tests; test; test = test->next) {
		if (!wanted(test, words))
			continue;
		result = run(test);
		count[result]++;
		printf("%sok %u %s", result == FAIL ? "not " : "", ++nr,
		       test->name);
		if (result == SKIP)
			printf(" # SKIP %s", note);
		printf("\n");
	}
	printf("# Totals: pass:%u fail:%u xfail:0 xpass:0 skip:%u error:0\n",
	       count[PASS], count[FAIL], count[SKIP]);
	return count[FAIL] ? EXIT_FAILURE : EXIT_SUCCESS;
}
