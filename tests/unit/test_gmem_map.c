/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/gmem_map.c: memory on a file, and what is told of a region. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem.h"

static const struct gmem_range ranges[] = {{{0}, MIB}, {{4 * MIB}, 2 * MIB}};

/* A file of `len` bytes with "one" where the first range begins, "two" where the second does. */
static int memory_file(uint64_t len)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	cr_assert(fd >= 0 && ftruncate(fd, (off_t)len) == 0);
	cr_assert(pwrite(fd, "one", 3, 0) == 3 && pwrite(fd, "two", 3, MIB) == 3);
	cr_assert(ftruncate(fd, (off_t)len) == 0);
	return fd;
}

static bool has(const struct gmem *mem, uint64_t gpa, const char *text)
{
	char bytes[8] = {0};

	cr_assert(gmem_read(mem, GPA(gpa), bytes, strlen(text)) == 0);
	return strcmp(bytes, text) == 0;
}

Test(gmem_map, regions_lie_behind_each_other_in_their_file)
{
	unsigned fds = kvm_fake_open_fds();
	AUTO_FD file = memory_file(3 * MIB + 1);
	struct gmem *mem = NULL;
	struct error err = {0};
	struct stat mine;
	struct stat theirs;

	cr_assert(gmem_new_file(ranges, 2, file, &mem, &err) == 0, "%s", err.msg);
	cr_assert(has(mem, 0, "one") && has(mem, 4 * MIB, "two"));
	cr_assert(fstat(file, &mine) == 0);
	for (size_t i = 0; i < 2; i++) {
		struct gmem_slot slot = gmem_slot(mem, i);

		cr_expect(fstat(slot.fd, &theirs) == 0 && theirs.st_ino == mine.st_ino);
		cr_expect(slot.offset == i * MIB && !slot.is_shared && slot.fd != file);
	}
	gmem_free(mem);
	fd_close(&file);
	cr_assert(kvm_fake_open_fds() == fds);
}

Test(gmem_map, writes_do_not_reach_the_file_and_are_discarded_to_it)
{
	AUTO_FD file = memory_file(3 * MIB);
	struct gmem *mem = NULL;
	struct error err = {0};
	char bytes[3];

	cr_assert(gmem_new_file(ranges, 2, file, &mem, &err) == 0, "%s", err.msg);
	cr_assert(gmem_write(mem, GPA(4 * MIB), "new", 3) == 0 && has(mem, 4 * MIB, "new"));
	cr_assert(pread(file, bytes, 3, MIB) == 3 && memcmp(bytes, "two", 3) == 0);
	cr_assert(gmem_discard(mem, GPA(4 * MIB), 64 * KIB) == 0 && has(mem, 4 * MIB, "two"));
	gmem_free(mem);
}

Test(gmem_map, a_file_that_can_not_hold_the_memory_is_refused)
{
	unsigned fds = kvm_fake_open_fds();
	AUTO_FD file = memory_file(3 * MIB - 1);
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert(gmem_new_file(ranges, 2, file, &mem, &err) == -1 && mem == NULL);
	cr_assert(err.kind == ERR_CORRUPT);
	cr_assert_str_eq(err.msg,
			 "The memory file has 3145727 bytes, and the memory of the guest 3145728");
	fd_close(&file);
	cr_assert(kvm_fake_open_fds() == fds);
	error_clear(&err);
	cr_assert(gmem_new_file(ranges, 2, -1, &mem, &err) == -1 && err.kind == ERR_HOST);
}

Test(gmem_map, only_shared_memory_can_be_given_to_another_process)
{
	static const struct {
		enum gmem_backing backing;
		bool is_shared;
	} cases[] = {{GMEM_ANON, false}, {GMEM_ANON_THP, false}, {GMEM_MEMFD, true}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct gmem *mem = NULL;
		struct error err = {0};
		char byte = 0;

		cr_assert(gmem_new(ranges, 2, cases[i].backing, &mem, &err) == 0, "%s", err.msg);
		struct gmem_slot slot = gmem_slot(mem, 1);

		cr_expect(slot.is_shared == cases[i].is_shared && slot.offset == 0);
		cr_expect((slot.fd >= 0) == cases[i].is_shared);
		cr_assert(gmem_write(mem, GPA(4 * MIB + 9), "x", 1) == 0);
		if (slot.is_shared) {
			cr_expect(pread(slot.fd, &byte, 1, 9) == 1 && byte == 'x');
		}
		gmem_free(mem);
	}
}
