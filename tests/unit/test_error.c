/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/error.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/error.h"

static const char *long_text(void)
{
	static char text[2 * ERROR_MSG_LEN];

	memset(text, 'x', sizeof(text) - 1);
	return text;
}

Test(error, set_keeps_kind_and_sentence)
{
	struct error err = {0};

	cr_assert(error_set(&err, ERR_BAD_STATE, "%d of %s", 3, "four") == -1);
	cr_assert(err.kind == ERR_BAD_STATE && err.sys == 0);
	cr_assert_str_eq(err.msg, "3 of four");
}

Test(error, set_cuts_a_long_sentence)
{
	struct error err = {0};

	error_set(&err, ERR_GUEST, "%s", long_text());
	cr_assert(strlen(err.msg) == ERROR_MSG_LEN - 1);
}

Test(error, sys_appends_the_cause_and_takes_errno_first)
{
	struct error err = {0};

	errno = ENOENT;
	cr_assert(error_sys(&err, "Cannot open %s", "it") == -1);
	cr_assert(err.kind == ERR_HOST && err.sys == ENOENT);
	cr_assert_str_eq(err.msg, "Cannot open it: No such file or directory (os error 2)");
}

Test(error, sys_never_cuts_the_cause)
{
	struct error err = {0};

	errno = EINVAL;
	error_sys(&err, "%s", long_text());
	cr_assert(strlen(err.msg) == ERROR_MSG_LEN - 1);
	const char *cause = ": Invalid argument (os error 22)";

	cr_assert_str_eq(err.msg + strlen(err.msg) - strlen(cause), cause);
}

Test(error, wrap_prefixes_and_keeps_the_rest)
{
	struct error err = {0};

	errno = EPERM;
	error_sys(&err, "inner");
	cr_assert(error_wrap(&err, "outer %d", 1) == -1);
	cr_assert_str_eq(err.msg, "outer 1: inner: Operation not permitted (os error 1)");
	cr_assert(err.kind == ERR_HOST && err.sys == EPERM);
}

Test(error, append_puts_what_has_room_behind_the_rest)
{
	struct error err = {0};

	error_set(&err, ERR_GUEST, "inner");
	cr_assert(error_append(&err, " at %d", 7) == -1);
	cr_assert_str_eq(err.msg, "inner at 7");
	error_append(&err, "%s", long_text());
	cr_assert(strlen(err.msg) == ERROR_MSG_LEN - 1);
	error_append(&err, "more");
	cr_assert(strlen(err.msg) == ERROR_MSG_LEN - 1);
	cr_assert(err.kind == ERR_GUEST);
}

Test(error, wrap_stays_within_the_buffer)
{
	struct error err = {0};

	error_set(&err, ERR_GUEST, "inner");
	error_wrap(&err, "%s", long_text());
	cr_assert(strlen(err.msg) == ERROR_MSG_LEN - 1);
	struct error other = {0};

	error_set(&other, ERR_GUEST, "%s", long_text());
	error_wrap(&other, "outer");
	cr_assert(strlen(other.msg) == ERROR_MSG_LEN - 1);
	cr_assert(strncmp(other.msg, "outer: xxx", 10) == 0);
}

Test(error, clear_allows_the_next_one)
{
	struct error err = {0};

	error_set(&err, ERR_GUEST, "first");
	error_clear(&err);
	error_set(&err, ERR_CORRUPT, "second");
	cr_assert_str_eq(err.msg, "second");
}

Test(error, setting_twice_is_a_bug, .signal = SIGABRT)
{
	struct error err = {0};

	error_set(&err, ERR_GUEST, "first");
	error_set(&err, ERR_GUEST, "second");
}

Test(error, wrapping_nothing_is_a_bug, .signal = SIGABRT)
{
	struct error err = {0};

	error_wrap(&err, "outer");
}

/* The texts of musl, which Firecracker's releases link. */
Test(error, os_texts_are_those_that_clients_match)
{
	static const struct {
		int sys;
		const char *text;
	} cases[] = {
		{ENOENT, "No such file or directory"},
		{EACCES, "Permission denied"},
		{EBUSY, "Resource busy"},
		{ENOMEM, "Out of memory"},
		{EADDRINUSE, "Address in use"},
		{EIO, "I/O error"},
		{EMFILE, "No file descriptors available"},
		{ENAMETOOLONG, "Filename too long"},
		{ELOOP, "Symbolic link loop"},
		{ENOTTY, "Not a tty"},
		{123456, "Unknown error"},
		{-1, "Unknown error"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_expect_str_eq(error_os_text(cases[i].sys), cases[i].text);
	}
}
