/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A small unit test harness: every TEST runs in a process of its own, the
 * results are printed as KTAP.
 *
 *	TEST(header_of_version_4_is_refused)
 *	{
 *		EXPECT_EQ(left, right);
 *	}
 *
 * The name is the sentence that the test proves. The first broken expectation
 * ends the test; a crash, a sanitizer report or 30 seconds end it as well and
 * leave the others alone. `unit WORD...` runs the tests whose name contains one
 * of the words, `unit -l` lists them.
 */
#ifndef QCOW2_TEST_HARNESS_H
#define QCOW2_TEST_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};

void test_register(struct test *test);

#define TEST(id)							\
	static void id(void);						\
	static struct test test_##id = { #id, id, NULL };		\
	__attribute__((constructor)) static void register_##id(void)	\
	{								\
		test_register(&test_##id);				\
	}								\
	static void id(void)

/* What the test is about to try; printed if an expectation breaks. */
__attribute__((format(printf, 1, 2))) void test_note(const char *format, ...);
/* Ends the test: it cannot run here. */
__attribute__((format(printf, 1, 2), noreturn))
void test_skip(const char *format, ...);
__attribute__((format(printf, 3, 4), noreturn))
void test_fail(const char *file, int line, const char *format, ...);

/*
 * Memory of exactly @len bytes, a copy of @data or zeros without it: one byte
 * read too far is seen by the address sanitizer. Lives until the test ends.
 */
void *test_buffer(const void *data, size_t len);

/* Store @value into a big-endian field of any width, by bytes. */
#define PUT(field, value)	test_put(&(field), sizeof(field), value)
void test_put(void *field, size_t bytes, uint64_t value);

#define EXPECT(condition)						\
	do {								\
		if (!(condition))					\
			test_fail(__FILE__, __LINE__, "%s", #condition);\
	} while (0)

#define EXPECT_EQ(left, right)						\
	do {								\
		uint64_t left_ = (left), right_ = (right);		\
									\
		if (left_ != right_)					\
			test_fail(__FILE__, __LINE__,			\
				  "%s is %#llx, expected %s = %#llx",	\
				  #left, (unsigned long long)left_,	\
				  #right, (unsigned long long)right_);	\
	} while (0)

#define EXPECT_STR(left, right)						\
	do {								\
		const char *left_ = (left), *right_ = (right);		\
									\
		if (strcmp(left_, right_))				\
			test_fail(__FILE__, __LINE__,			\
				  "%s is \"%s\", expected \"%s\"",	\
				  #left, left_, right_);		\
	} while (0)

#define EXPECT_VERDICT(got, want)					\
	do {								\
		enum qcow2_verdict got_ = (got), want_ = (want);	\
									\
		if (got_ != want_)					\
			test_fail(__FILE__, __LINE__,			\
				  "%s: \"%s\", expected \"%s\"", #got,	\
				  qcow2_verdict_text(got_),		\
				  qcow2_verdict_text(want_));		\
	} while (0)

#endif
