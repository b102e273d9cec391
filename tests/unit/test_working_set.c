/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/persist/working_set.c, on memory that is mapped from a file. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/persist/page_sets.h"
#include "vmm/persist/working_set.h"

enum {
	PAGE = GMEM_DIRTY_PAGE
};

static const struct gmem_range ranges[] = {{{0}, 2 * MIB}, {{8 * MIB}, MIB}};

static char dir[] = "/tmp/squib-working-XXXXXX";
static char memory[64], file[64];

static void setup(void)
{
	cr_assert(mkdtemp(dir) != NULL);
	(void)snprintf(memory, sizeof(memory), "%s/memory", dir);
	(void)snprintf(file, sizeof(file), "%s/set", dir);

	AUTO_FD fd = open(memory, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char page[PAGE];

	memset(page, 1, sizeof(page));
	for (unsigned i = 0; i < 3 * MIB / PAGE; i++) {
		cr_assert(write(fd, page, sizeof(page)) == PAGE);
	}
}

static void teardown(void)
{
	unlink(memory);
	unlink(file);
	rmdir(dir);
}

TestSuite(working_set, .init = setup, .fini = teardown, .timeout = 30);

static struct gmem *map(void)
{
	AUTO_FD fd = open(memory, O_RDONLY | O_CLOEXEC);
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert(gmem_new_file(ranges, 2, fd, &mem, &err) == 0, "%s", err.msg);
	return mem;
}

/* The own pages of both regions, as "region/page". */
static void own_pages(const struct gmem *mem, char *text, size_t cap)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < 2; i++) {
		uint64_t all[8] = {0};
		uint64_t own[8] = {0};
		struct error err = {0};

		cr_assert(gmem_touched_pages(mem, i, all, own, &err) == 0, "%s", err.msg);
		for (uint64_t page = 0; page < ranges[i].len / PAGE; page++) {
			if (page_bit(own, page)) {
				len += (size_t)snprintf(text + len, cap - len, "%zu/%u ", i,
							(unsigned)page);
			}
		}
	}
}

static bool is_touched(const struct gmem *mem, size_t index, uint64_t page)
{
	uint64_t all[8] = {0};
	uint64_t own[8] = {0};
	struct error err = {0};

	cr_assert(gmem_touched_pages(mem, index, all, own, &err) == 0, "%s", err.msg);
	return page_bit(all, page);
}

/* Records a memory of which pages were read (with their neighbours, as faults bring them) and
 * written to. */
static void record(void)
{
	struct gmem *mem = map();
	struct working_set set = {0};
	struct error err = {0};
	char byte;

	cr_assert(gmem_read(mem, GPA(100 * PAGE), &byte, 1) == 0);
	cr_assert(gmem_write(mem, GPA(300 * PAGE), "x", 1) == 0);
	cr_assert(gmem_write(mem, GPA(8 * MIB), "x", 1) == 0);
	cr_assert(gmem_write(mem, GPA(9 * MIB - PAGE), "x", 1) == 0);
	cr_assert(working_set_find(mem, &set, &err) == 0, "%s", err.msg);
	cr_assert(working_set_write(&set, file, &err) == 0, "%s", err.msg);
	working_set_destroy(&set);
	gmem_free(mem);
}

Test(working_set, what_one_load_used_the_next_one_has_at_once)
{
	unsigned fds = kvm_fake_open_fds();
	struct working_set set = {0};
	struct error err = {0};
	char text[128];

	record();
	struct gmem *mem = map();

	cr_assert(!is_touched(mem, 0, 100));
	cr_assert(working_set_read(file, &set, &err) == 0, "%s", err.msg);
	cr_assert(working_set_load(mem, &set, &err) == 0, "%s", err.msg);
	cr_expect(is_touched(mem, 0, 100) && !is_touched(mem, 0, 511));
	own_pages(mem, text, sizeof(text));
	cr_expect_str_eq(text, "0/300 1/0 1/255 ");
	working_set_destroy(&set);
	gmem_free(mem);
	cr_assert(kvm_fake_open_fds() == fds);
}

Test(working_set, that_of_another_memory_is_refused)
{
	struct gmem *mem = NULL;
	struct working_set set = {0};
	struct error err = {0};

	record();
	cr_assert(gmem_new(ranges, 1, GMEM_ANON, &mem, &err) == 0);
	cr_assert(working_set_read(file, &set, &err) == 0);
	cr_assert(working_set_load(mem, &set, &err) == -1 && err.kind == ERR_CORRUPT);
	cr_expect_str_eq(err.msg, "The working set is that of a memory of 3145728 bytes, and this "
				  "one has 2097152");
	working_set_destroy(&set);
	gmem_free(mem);
}

/* Whatever a byte becomes, the file is refused, or its ranges are within the memory. */
Test(working_set, each_byte_may_be_any)
{
	AUTO_FREE char *bytes = NULL;
	struct error err = {0};
	size_t len;

	record();
	cr_assert(read_file(file, "", 1 << 20, &bytes, &len, &err) == 0);
	for (size_t at = 0; at < len - 8; at++) {
		AUTO_FD fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
		struct gmem *mem = map();
		struct working_set set = {0};
		struct error cause = {0};
		char was = bytes[at];

		bytes[at] = (char)(bytes[at] ^ (at % 2 == 0 ? 0xff : 1));
		store_le64(bytes + len - 8, crc64(bytes, len - 8));
		cr_assert(write(fd, bytes, len) == (ssize_t)len);
		bytes[at] = was;
		if (working_set_read(file, &set, &cause) == 0) {
			(void)!working_set_load(mem, &set, &cause);
		}
		cr_expect(cause.kind == ERR_NONE || cause.kind == ERR_CORRUPT ||
				  cause.kind == ERR_NOT_SUPPORTED || cause.kind == ERR_TOO_LARGE,
			  "byte %zu: %s", at, cause.msg);
		working_set_destroy(&set);
		gmem_free(mem);
	}
}
