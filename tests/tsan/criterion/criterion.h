/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of criterion that the unit tests use, for builds with ThreadSanitizer: criterion itself
 * maps memory where that sanitizer forbids it, and aborts. Each test is a child process here too.
 * -isystem tests/tsan puts this file in place of criterion's, and tests/tsan/run.c in place of its
 * library.
 */
#ifndef TESTS_TSAN_CRITERION_CRITERION_H
#define TESTS_TSAN_CRITERION_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* What may stand behind a test's or a suite's name. */
struct plain_options {
	void (*init)(void);
	void (*fini)(void);
	double timeout; /* seconds; 0: none */
	int signal;	/* that must end the test */
	int exit_code;
};

struct plain_test {
	const char *suite;
	const char *name; /* NULL: the entry is the suite's options */
	void (*run)(void);
	struct plain_options options;
	struct plain_test *next;
};

void plain_register(struct plain_test *test);

/* Reports a check that failed; does not return if it `is_fatal`. `fmt` begins with a space. */
__attribute__((format(printf, 4, 5))) void plain_fail(bool is_fatal, const char *where,
						      const char *what, const char *fmt, ...);

/* Ends the test as skipped. */
__attribute__((format(printf, 1, 2), noreturn)) void plain_skip(const char *fmt, ...);

#define PLAIN_ENTRY(id, ...)                                                                       \
	static struct plain_test id##_entry = {__VA_ARGS__};                                       \
	__attribute__((constructor)) static void id##_register(void)                               \
	{                                                                                          \
		plain_register(&id##_entry);                                                       \
	}

#define TestSuite(of, ...)                                                                         \
	PLAIN_ENTRY(of##_suite, .suite = #of, .options = {__VA_ARGS__})                            \
	struct plain_suite_##of

#define Test(of, title, ...)                                                                       \
	static void of##_##title(void);                                                            \
	PLAIN_ENTRY(of##_##title, .suite = #of, .name = #title, .run = of##_##title,               \
		    .options = {__VA_ARGS__})                                                      \
	static void of##_##title(void)

#define PLAIN_STRING(x) #x
#define PLAIN_LINE(line) PLAIN_STRING(line)
#define PLAIN_CHECK(is_fatal, condition, ...)                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			plain_fail(is_fatal, __FILE__ ":" PLAIN_LINE(__LINE__), #condition,        \
				   " " __VA_ARGS__);                                               \
		}                                                                                  \
	} while (0)

#define cr_skip_test(...) plain_skip(" " __VA_ARGS__)
#define cr_assert(condition, ...) PLAIN_CHECK(true, condition, __VA_ARGS__)
#define cr_assert_not(condition, ...) PLAIN_CHECK(true, !(condition), __VA_ARGS__)
#define cr_assert_fail(...) PLAIN_CHECK(true, false, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) PLAIN_CHECK(true, (a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) PLAIN_CHECK(true, (a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) PLAIN_CHECK(true, (a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) PLAIN_CHECK(true, (a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) PLAIN_CHECK(true, (a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) PLAIN_CHECK(true, (a) >= (b), __VA_ARGS__)
#define cr_assert_null(a, ...) PLAIN_CHECK(true, (a) == NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...) PLAIN_CHECK(true, (a) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) PLAIN_CHECK(true, strcmp(a, b) == 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, len, ...) PLAIN_CHECK(true, memcmp(a, b, len) == 0, __VA_ARGS__)
#define cr_expect(condition, ...) PLAIN_CHECK(false, condition, __VA_ARGS__)
#define cr_expect_not(condition, ...) PLAIN_CHECK(false, !(condition), __VA_ARGS__)
#define cr_expect_eq(a, b, ...) PLAIN_CHECK(false, (a) == (b), __VA_ARGS__)
#define cr_expect_neq(a, b, ...) PLAIN_CHECK(false, (a) != (b), __VA_ARGS__)
#define cr_expect_lt(a, b, ...) PLAIN_CHECK(false, (a) < (b), __VA_ARGS__)
#define cr_expect_leq(a, b, ...) PLAIN_CHECK(false, (a) <= (b), __VA_ARGS__)
#define cr_expect_gt(a, b, ...) PLAIN_CHECK(false, (a) > (b), __VA_ARGS__)
#define cr_expect_geq(a, b, ...) PLAIN_CHECK(false, (a) >= (b), __VA_ARGS__)
#define cr_expect_null(a, ...) PLAIN_CHECK(false, (a) == NULL, __VA_ARGS__)
#define cr_expect_not_null(a, ...) PLAIN_CHECK(false, (a) != NULL, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) PLAIN_CHECK(false, strcmp(a, b) == 0, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, len, ...) PLAIN_CHECK(false, memcmp(a, b, len) == 0, __VA_ARGS__)

#endif
