/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/gmem.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem.h"

/* Two regions that touch, a hole, a third, and one at the very top of the address space. */
static const struct gmem_range ranges[] = {
	{{0}, MIB},
	{{MIB}, 2 * MIB},
	{{8 * MIB}, MIB},
	{{UINT64_MAX - MIB + 1 - 4096}, MIB},
};

static struct gmem *make(void)
{
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert(gmem_new(ranges, ARRAY_COUNT(ranges), GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
	return mem;
}

static void *host(const struct gmem_slot *slot, uint64_t offset)
{
	return (void *)(uintptr_t)(slot->hva + offset); // NOLINT
}

/*
 * The mapping's permissions if there is one with just these ends, else "". "+dump" is added if core
 * files would have it.
 */
static const char *mapping_of(const struct gmem_slot *slot)
{
	static char found[16];
	FILE *maps = fopen("/proc/self/smaps", "r");
	char line[512];
	bool is_it = false;

	found[0] = '\0';
	while (fgets(line, sizeof(line), maps) != NULL) {
		uint64_t start;
		uint64_t end;
		char perms[8];

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &start, &end, perms) == 3) {
			is_it = start == slot->hva && end == slot->hva + slot->len;
			if (is_it) {
				strcpy(found, perms);
			}
		} else if (is_it && strncmp(line, "VmFlags:", strlen("VmFlags:")) == 0) {
			strcat(found, strstr(line, " dd") != NULL ? "" : "+dump");
		}
	}
	fclose(maps);
	return found;
}

Test(gmem, nothing_is_resident_until_it_is_touched)
{
	const struct gmem_range big[] = {{GPA(0), 3 * GIB}, {GPA(4 * GIB), 3 * GIB}};
	struct gmem *mem = NULL;
	struct error err = {0};
	AUTO_FREE unsigned char *pages = malloc(3 * GIB / 4096);
	size_t resident = 0;

	cr_assert(gmem_new(big, 2, GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
	for (size_t i = 0; i < 2; i++) {
		struct gmem_slot slot = gmem_slot(mem, i);

		cr_assert(mincore(host(&slot, 0), slot.len, pages) == 0);
		for (size_t page = 0; page < slot.len / 4096; page++) {
			resident += pages[page] & 1;
		}
	}
	cr_assert(resident == 0, "%zu pages", resident);
	gmem_free(mem);
}

Test(gmem, regions_are_aligned_single_mappings_between_guards)
{
	struct gmem *mem = make();
	int ends[2];

	cr_assert(pipe(ends) == 0);
	cr_assert(gmem_region_count(mem) == ARRAY_COUNT(ranges));
	cr_assert(gmem_len(mem) == 5 * MIB);
	for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
		struct gmem_slot slot = gmem_slot(mem, i);
		const uint64_t outside[] = {-UINT64_C(1), -64 * KIB, slot.len,
					    slot.len + 64 * KIB - 1};

		cr_expect(slot.base.v == ranges[i].base.v && slot.len == ranges[i].len);
		cr_expect(is_aligned(slot.hva, 2 * MIB));
		cr_expect_str_eq(mapping_of(&slot), "rw-p");
		/* The kernel reads in our place: EFAULT is what a SIGSEGV would be. */
		cr_expect(write(ends[1], host(&slot, 0), 1) == 1);
		cr_expect(write(ends[1], host(&slot, slot.len - 1), 1) == 1);
		for (size_t j = 0; j < ARRAY_COUNT(outside); j++) {
			cr_expect(write(ends[1], host(&slot, outside[j]), 1) == -1 &&
					  errno == EFAULT,
				  "region %zu, offset %#" PRIx64, i, outside[j]);
		}
	}
	gmem_free(mem);
}

Test(gmem, each_backing_works_or_says_why_not)
{
	static const struct {
		enum gmem_backing backing;
		const char *perms;
	} cases[] = {
		{GMEM_ANON, "rw-p"},
		{GMEM_ANON_THP, "rw-p"},
		{GMEM_MEMFD, "rw-s"},
		{GMEM_HUGE_2M, "rw-p"},
	};
	const struct gmem_range range = {GPA(0), 4 * MIB};
	unsigned fds = kvm_fake_open_fds();

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct gmem *mem = NULL;
		struct error err = {0};
		char byte = 7;

		if (gmem_new(&range, 1, cases[i].backing, &mem, &err) < 0) {
			cr_expect(cases[i].backing == GMEM_HUGE_2M, "%s", err.msg);
			cr_expect(err.sys == ENOMEM && mem == NULL, "%s", err.msg);
			continue;
		}
		struct gmem_slot slot = gmem_slot(mem, 0);

		cr_expect_str_eq(mapping_of(&slot), cases[i].perms);
		cr_expect(gmem_write(mem, GPA(4 * MIB - 1), &byte, 1) == 0);
		byte = 0;
		cr_expect(gmem_read(mem, GPA(4 * MIB - 1), &byte, 1) == 0 && byte == 7);
		gmem_free(mem);
	}
	cr_expect(kvm_fake_open_fds() == fds);
}

Test(gmem, impossible_ranges_are_refused)
{
	static const struct {
		struct gmem_range ranges[2];
		size_t count;
		enum gmem_backing backing;
		const char *sentence;
	} cases[] = {
		{{{{0}, 0}}, 1, GMEM_ANON, "empty"},
		{{{{0}, 4095}}, 1, GMEM_ANON, "unaligned"},
		{{{{1}, 4096}}, 1, GMEM_ANON, "unaligned"},
		{{{{4096}, 4096}, {{0}, 4096}}, 2, GMEM_ANON, "out of order"},
		{{{{0}, 8192}, {{4096}, 4096}}, 2, GMEM_ANON, "out of order"},
		{{{{UINT64_MAX - 4095}, 4096}}, 1, GMEM_ANON, "empty, unaligned"},
		{{{{0}, UINT64_MAX - 4095}}, 1, GMEM_ANON, "2^64"},
		{{{{0}, UINT64_C(1) << 60}}, 1, GMEM_ANON, "Cannot create mmap region"},
		{{{{0}, 1}}, GMEM_REGIONS_MAX + 1, GMEM_ANON, "at most 8"},
		/* The kernel would round the mapping up, over the guard. */
		{{{{0}, 3 * MIB}}, 1, GMEM_HUGE_2M, "unaligned"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct gmem *mem = NULL;
		struct error err = {0};

		cr_expect(gmem_new(cases[i].ranges, cases[i].count, cases[i].backing, &mem, &err) ==
				  -1,
			  "case %zu", i);
		cr_expect(mem == NULL && strstr(err.msg, cases[i].sentence) != NULL, "case %zu: %s",
			  i, err.msg);
	}
}

Test(gmem, accesses_cross_touching_regions_and_nothing_else)
{
	static const struct {
		uint64_t gpa;
		uint64_t len;
		bool is_ram;
		size_t iovecs;
	} cases[] = {
		{0, 1, true, 1},
		{0, 3 * MIB, true, 2},
		{MIB - 1, 2, true, 2},
		{MIB - 1, 1, true, 1},
		{MIB, 2 * MIB, true, 1},
		{3 * MIB - 1, 1, true, 1},
		{3 * MIB - 1, 2, false, 0},
		{3 * MIB, 1, false, 0},
		{8 * MIB - 1, 2, false, 0},
		{8 * MIB, MIB, true, 1},
		{0, 9 * MIB, false, 0},
		{9 * MIB, 1, false, 0},
		{UINT64_MAX - 4096, 1, true, 1},
		{UINT64_MAX - 4096, 2, false, 0},
		{UINT64_MAX, 1, false, 0},
		{UINT64_MAX, 2, false, 0},
		{MIB, UINT64_MAX, false, 0},
		{0, UINT64_MAX, false, 0},
		{0, 0, true, 0},
		{5 * MIB, 0, true, 0},
	};
	struct gmem *mem = make();
	AUTO_FREE uint8_t *data = malloc(16 * MIB);
	AUTO_FREE uint8_t *copy = malloc(16 * MIB);

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		gpa_t gpa = GPA(cases[i].gpa);
		uint64_t len = cases[i].len;
		struct iovec iov[GMEM_REGIONS_MAX];
		size_t count = 99;

		memset(data, 0x40 + (int)i, 16 * MIB);
		memset(copy, 0, 16 * MIB);
		cr_expect(gmem_contains(mem, gpa, len) == cases[i].is_ram, "case %zu", i);
		cr_expect(gmem_write(mem, gpa, data, len) == (cases[i].is_ram ? 0 : -1), "case %zu",
			  i);
		cr_expect(gmem_read(mem, gpa, copy, len) == (cases[i].is_ram ? 0 : -1), "case %zu",
			  i);
		cr_expect(memcmp(data, copy, cases[i].is_ram ? len : 0) == 0, "case %zu", i);
		cr_expect(cases[i].is_ram || copy[0] == 0, "case %zu: copied in part", i);
		cr_expect(gmem_iov(mem, (struct gmem_range){gpa, len}, GMEM_READ, iov, &count) ==
				  (cases[i].is_ram ? 0 : -1),
			  "case %zu", i);
		if (cases[i].is_ram) {
			uint64_t total = 0;

			cr_expect(count == cases[i].iovecs, "case %zu: %zu", i, count);
			for (size_t j = 0; j < count; j++) {
				total += iov[j].iov_len;
			}
			cr_expect(total == len, "case %zu", i);
		}
	}
	gmem_free(mem);
}

Test(gmem, a_refused_write_changes_nothing)
{
	struct gmem *mem = make();
	uint8_t byte = 0xff;

	cr_assert(gmem_write(mem, GPA(3 * MIB - 1), "xy", 2) == -1);
	cr_assert(gmem_read(mem, GPA(3 * MIB - 1), &byte, 1) == 0 && byte == 0);
	gmem_free(mem);
}

Test(gmem, bytes_land_on_both_sides_of_a_border)
{
	struct gmem *mem = make();
	uint8_t one[2] = {0};

	cr_assert(gmem_write(mem, GPA(MIB - 1), "ab", 2) == 0);
	cr_assert(gmem_read(mem, GPA(MIB - 1), &one[0], 1) == 0);
	cr_assert(gmem_read(mem, GPA(MIB), &one[1], 1) == 0);
	cr_assert(one[0] == 'a' && one[1] == 'b');
	gmem_free(mem);
}

Test(gmem, iovecs_end_where_regions_do)
{
	struct gmem *mem = make();
	const struct gmem_range border = {GPA(MIB - 4), 8};
	const struct gmem_range hole = {GPA(3 * MIB - 4), 8};
	struct iovec iov[GMEM_REGIONS_MAX];
	size_t count = 0;

	cr_assert(gmem_iov(mem, hole, GMEM_READ, iov, &count) == -1 && count == 0);
	cr_assert(gmem_iov(mem, border, GMEM_READ, iov, &count) == 0);
	struct gmem_slot first = gmem_slot(mem, 0);
	struct gmem_slot second = gmem_slot(mem, 1);

	cr_assert(count == 2 && iov[0].iov_len == 4 && iov[1].iov_len == 4);
	cr_assert((uintptr_t)iov[0].iov_base == first.hva + MIB - 4);
	cr_assert((uintptr_t)iov[1].iov_base == second.hva);
	gmem_free(mem);
}

Test(gmem, files_are_loaded_across_regions_or_refused)
{
	static const struct {
		uint64_t gpa;
		uint64_t offset;
		uint64_t len;
		enum error_kind kind;
		const char *sentence;
	} cases[] = {
		{MIB - 100, 0, 8192, ERR_NONE, ""},
		{MIB - 100, 4000, 4192, ERR_NONE, ""},
		{0, 0, 0, ERR_NONE, ""},
		{0, 0, 8193, ERR_CORRUPT, "too early, at offset 8192"},
		{0, 9000, 1, ERR_CORRUPT, "too early, at offset 9000"},
		{3 * MIB - 1, 0, 2, ERR_CORRUPT, "0x2 bytes at guest address 0x2fffff"},
		{UINT64_MAX, 0, 2, ERR_CORRUPT, "outside guest memory"},
		{0, UINT64_MAX, 1, ERR_HOST, "Cannot read the file"},
	};
	struct gmem *mem = make();
	uint8_t data[8192];

	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = (uint8_t)(i * 7 + i / 256);
	}
	int fd = file_of(data, sizeof(data));

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t copy[8192];
		struct error err = {0};
		int result = gmem_load_file(mem, GPA(cases[i].gpa), fd, cases[i].offset,
					    cases[i].len, &err);

		cr_expect(result == (cases[i].kind == ERR_NONE ? 0 : -1), "case %zu", i);
		cr_expect(err.kind == cases[i].kind, "case %zu: %s", i, err.msg);
		cr_expect(strstr(err.msg, cases[i].sentence) != NULL, "case %zu: %s", i, err.msg);
		if (result == 0) {
			cr_expect(gmem_read(mem, GPA(cases[i].gpa), copy, cases[i].len) == 0);
			cr_expect(memcmp(copy, data + cases[i].offset, cases[i].len) == 0,
				  "case %zu", i);
		}
	}
	gmem_free(mem);
}

Test(gmem, a_ring_is_all_in_one_region_or_not_mapped)
{
	static const struct {
		uint64_t gpa;
		uint64_t len;
		size_t region; /* ARRAY_COUNT(ranges): none */
	} cases[] = {
		{0, 16, 0},	     {MIB - 16, 16, 0},	  {MIB - 16, 17, 4},
		{MIB, 2 * MIB, 1},   {3 * MIB - 1, 1, 1}, {3 * MIB, 1, 4},
		{5 * MIB, 0, 4},     {8 * MIB - 1, 2, 4}, {UINT64_MAX - 4096, 1, 3},
		{UINT64_MAX, 16, 4}, {0, UINT64_MAX, 4},  {MIB, UINT64_MAX, 4},
	};
	struct gmem *mem = make();

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		void *ring = gmem_ring_map(mem, GPA(cases[i].gpa), cases[i].len);
		void *expected = NULL;

		if (cases[i].region < ARRAY_COUNT(ranges)) {
			struct gmem_slot slot = gmem_slot(mem, cases[i].region);

			expected = host(&slot, cases[i].gpa - slot.base.v);
		}
		/* An empty one outside of RAM may be anything that is not accessed. */
		cr_expect(ring == expected, "case %zu", i);
	}
	gmem_free(mem);
}

enum {
	FILLING = 0x5a
};

/* What the guest finds in the page at `gpa`: FILLING all over, 0 all over, or -1. */
static int page_of(const struct gmem *mem, uint64_t gpa)
{
	uint8_t page[4096];

	cr_assert(gmem_read(mem, GPA(gpa), page, sizeof(page)) == 0);
	for (size_t i = 1; i < sizeof(page); i++) {
		if (page[i] != page[0]) {
			return -1;
		}
	}
	return page[0];
}

/* 16 pages around the border of the first two regions; each bit is one that must be zero after. */
static const struct {
	uint64_t offset;
	uint64_t len;
	uint32_t zeroed;
} discards[] = {
	{0, 4096, 0x0001},
	{4095, 4097, 0x0002},
	{1, 4096, 0},
	{1, 8190, 0},
	{1, 8191, 0x0002},
	{1, 8192, 0x0002},
	{0, 4095, 0},
	{4096 * 6, 4096 * 4, 0x03c0},
	{4096 * 7 + 1, 8191, 0x0100},
	{4096 * 7, 8191, 0x0080},
	{0, 65536, 0xffff},
	{0, 0, 0},
};

static void check_discards(enum gmem_backing backing)
{
	const struct gmem_range two[] = {{GPA(0), MIB}, {GPA(MIB), MIB}};
	const uint64_t start = MIB - 8 * 4096;
	uint8_t filling[65536];
	struct gmem *mem = NULL;
	struct error err = {0};

	memset(filling, FILLING, sizeof(filling));
	cr_assert(gmem_new(two, 2, backing, &mem, &err) == 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(discards); i++) {
		cr_assert(gmem_write(mem, GPA(start), filling, sizeof(filling)) == 0);
		cr_expect(gmem_discard(mem, GPA(start + discards[i].offset), discards[i].len) == 0,
			  "case %zu", i);
		for (unsigned page = 0; page < 16; page++) {
			int expected = discards[i].zeroed >> page & 1 ? 0 : FILLING;

			cr_expect(page_of(mem, start + page * 4096) == expected,
				  "backing %d, case %zu, page %u", (int)backing, i, page);
		}
	}
	gmem_free(mem);
}

Test(gmem, what_is_discarded_reads_zero_in_whole_pages)
{
	check_discards(GMEM_ANON);
	check_discards(GMEM_ANON_THP);
	check_discards(GMEM_MEMFD);
}

/* Some hosts tell more than others of their pool; none has a pebibyte. */
Test(gmem, a_pool_that_is_too_small_is_told_with_what_is_missing)
{
	const struct gmem_range wanted[] = {{GPA(0), 2 * MIB}, {GPA(4 * GIB), 64 * 1024 * GIB}};
	struct gmem *mem = NULL;
	struct error err = {0};
	char *end;

	cr_assert(gmem_new(wanted, 2, GMEM_HUGE_2M, &mem, &err) == -1 && mem == NULL);
	const char *why = strstr(err.msg, "; 33554433 ");
	const char *advice = strstr(err.msg, "vm.nr_hugepages");

	cr_assert(strncmp(err.msg, "Cannot create mmap region: Out of memory (os error 12); ",
			  56) == 0);
	cr_assert(why != NULL && advice != NULL && strstr(why, "needed") != NULL, "%s", err.msg);
	if (strstr(why, "are free") != NULL) {
		cr_expect(strtoull(advice + strlen("vm.nr_hugepages="), &end, 10) >= 33554433 &&
				  *end == '\0',
			  "%s", err.msg);
	}
}

Test(gmem, huge_pages_are_discarded_whole)
{
	const struct gmem_range range = {GPA(0), 4 * MIB};
	struct gmem *mem = NULL;
	struct error err = {0};
	uint8_t byte = 7;

	if (gmem_new(&range, 1, GMEM_HUGE_2M, &mem, &err) < 0) {
		cr_skip_test("no huge pages: %s", err.msg);
	}
	cr_assert(gmem_write(mem, GPA(0), &byte, 1) == 0);
	cr_assert(gmem_discard(mem, GPA(0), 2 * MIB - 1) == 0);
	cr_assert(gmem_read(mem, GPA(0), &byte, 1) == 0 && byte == 7);
	cr_assert(gmem_discard(mem, GPA(0), 2 * MIB) == 0);
	cr_assert(gmem_read(mem, GPA(0), &byte, 1) == 0 && byte == 0);
	gmem_free(mem);
}

Test(gmem, only_ram_is_discarded)
{
	struct gmem *mem = make();
	uint8_t byte = 7;

	cr_assert(gmem_write(mem, GPA(2 * MIB), &byte, 1) == 0);
	cr_assert(gmem_discard(mem, GPA(2 * MIB), MIB + 1) == -1);
	cr_assert(gmem_discard(mem, GPA(2 * MIB), UINT64_MAX) == -1);
	cr_assert(gmem_discard(mem, GPA(5 * MIB), 4096) == -1);
	cr_assert(gmem_read(mem, GPA(2 * MIB), &byte, 1) == 0 && byte == 7);
	gmem_free(mem);
}

Test(gmem, free_takes_null)
{
	gmem_free(NULL);
}
