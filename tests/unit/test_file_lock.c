/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/file_lock.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/file_lock.h"

/* One file, opened twice. */
static char path[] = "/tmp/squib-lock-XXXXXX";
static int ours, theirs;

static void set_up(void)
{
	ours = mkstemp(path);
	theirs = open(path, O_RDWR | O_CLOEXEC);
	cr_assert(ours >= 0 && theirs >= 0);
}

static void tear_down(void)
{
	close(ours);
	close(theirs);
	unlink(path);
}

TestSuite(file_lock, .init = set_up, .fini = tear_down, .timeout = 10);

Test(file_lock, parts_are_shared_or_had_alone)
{
	static const struct {
		enum file_part ours, theirs;
		bool share_ours, share_theirs, is_fine;
	} cases[] = {
		{FILE_CONTENT, FILE_CONTENT, false, false, false},
		{FILE_CONTENT, FILE_CONTENT, false, true, false},
		{FILE_CONTENT, FILE_CONTENT, true, false, false},
		{FILE_CONTENT, FILE_CONTENT, true, true, true},
		{FILE_CONTENT, FILE_WRITER, false, false, true},
		{FILE_WRITER, FILE_WRITER, false, false, false},
		{FILE_CONTENT, FILE_WHOLE, false, false, false},
		{FILE_WHOLE, FILE_WRITER, true, false, false},
		{FILE_WHOLE, FILE_CONTENT, true, true, true},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_assert(file_lock(ours, cases[i].ours, cases[i].share_ours, 0));
		cr_expect_eq(file_lock(theirs, cases[i].theirs, cases[i].share_theirs, 20),
			     cases[i].is_fine, "case %zu", i);
		file_unlock(ours, cases[i].ours);
		cr_expect(file_lock(theirs, cases[i].theirs, cases[i].share_theirs, 0), "case %zu",
			  i);
		file_unlock(theirs, FILE_WHOLE);
	}
}

Test(file_lock, one_ends_with_its_file_and_changes_in_place)
{
	cr_assert(file_lock(ours, FILE_CONTENT, false, 0));
	cr_assert(file_lock(ours, FILE_CONTENT, true, 0));
	cr_expect(file_lock(theirs, FILE_CONTENT, true, 0), "it is a shared one now");
	fd_close(&theirs);
	cr_expect(file_lock(ours, FILE_CONTENT, false, 0));
}

/* What can't be locked nobody has locked. */
Test(file_lock, where_there_is_no_lock_nothing_fails)
{
	AUTO_FD reader = open(path, O_RDONLY | O_CLOEXEC);

	cr_expect(file_lock(reader, FILE_CONTENT, false, 0));
	cr_expect(file_lock(-1, FILE_CONTENT, true, 0));
	errno = EXDEV;
	file_unlock(-1, FILE_WHOLE);
	file_unlock(reader, FILE_WHOLE);
	cr_expect_eq(errno, EXDEV);
}
