/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/gmem.c: which pages are marked as written to. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem.h"
#include "vmm/base/gmem_pages.h"

#define PAGE UINT64_C(4096)

enum {
	PAGES = 130,
	WORDS = 3
};

/* Two regions that touch: 130 pages and 1. */
static const struct gmem_range ranges[] = {{{0}, PAGES *PAGE}, {{PAGES * PAGE}, PAGE}};
static struct gmem *mem;

static void set_up(void)
{
	struct error err = {0};

	cr_assert(gmem_new(ranges, 2, GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
	cr_assert(gmem_track_dirty(mem, &err) == 0, "%s", err.msg);
}

static void tear_down(void)
{
	gmem_free(mem);
}

TestSuite(gmem_dirty, .init = set_up, .fini = tear_down);

/* Whether just the pages first..last are marked (of both regions; last < first: none); takes them.
 */
static bool is_dirty(uint64_t first, uint64_t last)
{
	uint64_t bitmap[WORDS + 1] = {0};
	bool is_as_expected = true;

	gmem_dirty_take(mem, 0, bitmap, WORDS);
	gmem_dirty_take(mem, 1, bitmap + WORDS, 1);
	for (uint64_t page = 0; page <= PAGES; page++) {
		uint64_t bit = page < PAGES ? page : WORDS * UINT64_C(64);

		is_as_expected &=
			(bitmap[bit / 64] >> bit % 64 & 1) == (page >= first && page <= last);
	}
	return is_as_expected;
}

static int read_into(uint64_t gpa, uint64_t len)
{
	AUTO_FD file = memfd_create("file", MFD_CLOEXEC);
	struct error err = {0};

	cr_assert(ftruncate(file, (off_t)len) == 0);
	return gmem_load_file(mem, GPA(gpa), file, 0, len, &err);
}

static int write_to(uint64_t gpa, uint64_t len)
{
	static const uint8_t bytes[PAGES * PAGE];

	return gmem_write(mem, GPA(gpa), bytes, len);
}

static int read_from(uint64_t gpa, uint64_t len)
{
	static uint8_t bytes[PAGES * PAGE];

	return gmem_read(mem, GPA(gpa), bytes, len);
}

static int let_read(uint64_t gpa, uint64_t len)
{
	struct iovec iov[GMEM_REGIONS_MAX];
	size_t count;

	return gmem_iov(mem, (struct gmem_range){GPA(gpa), len}, GMEM_READ, iov, &count);
}

static int let_write(uint64_t gpa, uint64_t len)
{
	struct iovec iov[GMEM_REGIONS_MAX];
	size_t count;

	return gmem_iov(mem, (struct gmem_range){GPA(gpa), len}, GMEM_WRITE, iov, &count);
}

static int discard(uint64_t gpa, uint64_t len)
{
	return gmem_discard(mem, GPA(gpa), len);
}

static int mark_ring(uint64_t gpa, uint64_t len)
{
	struct gmem_marks marks = gmem_ring_marks(mem, GPA(gpa), len);

	gmem_mark(&marks);
	return 0;
}

Test(gmem_dirty, all_ways_to_write_mark_the_pages_that_they_reach)
{
	static const struct {
		int (*touch)(uint64_t gpa, uint64_t len);
		uint64_t gpa;
		uint64_t len;
		uint64_t first;
		uint64_t last;
	} cases[] = {
		{write_to, 0, 1, 0, 0},
		{write_to, PAGE - 1, 2, 0, 1},
		{write_to, 63 * PAGE, 2 * PAGE, 63, 64},
		{write_to, 0, PAGES * PAGE, 0, PAGES - 1},
		{write_to, PAGES * PAGE - 1, 2, PAGES - 1, PAGES},
		{write_to, 5, 0, 1, 0},
		{write_to, PAGES * PAGE, PAGE + 1, 1, 0},
		{read_from, 0, 2 * PAGE, 1, 0},
		{let_write, 3 * PAGE + 8, PAGE, 3, 4},
		{let_write, PAGES * PAGE - 1, 2, PAGES - 1, PAGES},
		{let_read, 3 * PAGE + 8, PAGE, 1, 0},
		{read_into, PAGES * PAGE - 1, 2, PAGES - 1, PAGES},
		{discard, 7 * PAGE, 2 * PAGE, 7, 8},
		{mark_ring, 9 * PAGE - 2, 4, 8, 9},
		{mark_ring, PAGES * PAGE, 4, PAGES, PAGES},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int result = cases[i].touch(cases[i].gpa, cases[i].len);

		cr_expect(result == (cases[i].gpa + cases[i].len > (PAGES + 1) * PAGE ? -1 : 0));
		cr_expect(is_dirty(cases[i].first, cases[i].last), "case %zu", i);
		cr_expect(is_dirty(1, 0), "case %zu: they were taken", i);
	}
}

Test(gmem_dirty, marks_add_up_and_are_put_back)
{
	uint64_t bitmap[WORDS] = {0};

	cr_assert(write_to(PAGE, 1) == 0);
	gmem_dirty_take(mem, 0, bitmap, WORDS);
	cr_assert(write_to(3 * PAGE, 1) == 0 && write_to(65 * PAGE, 1) == 0);
	gmem_dirty_take(mem, 0, bitmap, WORDS);
	cr_assert(bitmap[0] == 0xa && bitmap[1] == 2 && bitmap[2] == 0);
	cr_assert(write_to(2 * PAGE, 1) == 0);
	gmem_dirty_put_back(mem, 0, (const uint64_t[WORDS]){2, 0, 0}, WORDS);
	cr_assert(is_dirty(1, 2));
}

Test(gmem_dirty, all_pages_are_marked_at_once)
{
	gmem_dirty_all(mem);
	cr_expect(is_dirty(0, PAGES));
	cr_expect(is_dirty(1, 0));
}

Test(gmem_dirty, nothing_is_marked_where_it_is_not_asked_for)
{
	struct gmem *tracked = mem;
	struct error err = {0};

	cr_assert(gmem_track_dirty(tracked, &err) == 0);
	cr_assert(write_to(0, 1) == 0);
	cr_assert(gmem_track_dirty(tracked, &err) == 0);
	cr_assert(is_dirty(0, 0), "a second call changes nothing");
	cr_assert(gmem_new(ranges, 2, GMEM_ANON, &mem, &err) == 0);
	cr_assert(write_to(0, PAGE) == 0 && let_write(0, PAGE) == 0 && discard(0, PAGE) == 0);
	struct gmem_marks marks = gmem_ring_marks(mem, GPA(0), 8);

	cr_assert(marks.words == NULL);
	gmem_free(mem);
	mem = tracked;
}

enum {
	ROUNDS = 500
};

static pthread_barrier_t barrier;
static _Atomic unsigned arrivals;

/* Each round writes to 32 of the 64 pages that have their marks in the first word. */
static void *write_pages(void *arg)
{
	unsigned parity = *(const unsigned *)arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&barrier);
		/* A barrier wakes one after the other, too far apart to meet. */
		arrivals++;
		while (arrivals < 2 * (round + 1)) {
			/* turning, so that both go on at once */
		}
		for (unsigned i = 0; i < 32; i++) {
			(void)write_to((2 * i + parity) * PAGE, 1);
		}
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

Test(gmem_dirty, no_mark_is_lost_while_two_threads_set_them)
{
	unsigned parities[2] = {0, 1};
	pthread_t threads[2];
	unsigned lost = 0;

	pthread_barrier_init(&barrier, NULL, 3);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert(pthread_create(&threads[i], NULL, write_pages, &parities[i]) == 0);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t bitmap[WORDS] = {0};

		pthread_barrier_wait(&barrier);
		/* Some are taken while the others are set. */
		gmem_dirty_take(mem, 0, bitmap, WORDS);
		pthread_barrier_wait(&barrier);
		gmem_dirty_take(mem, 0, bitmap, WORDS);
		lost += bitmap[0] != UINT64_MAX;
	}
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
	}
	cr_assert(lost == 0, "in %u rounds", lost);
}
