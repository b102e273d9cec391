/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/gmem_plug.c: what is not plugged is no RAM, costs nothing, can't be touched. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "devices/virtio/core/virtq.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/base/gmem_plug.h"

#define BASE (512 * GIB)
#define BLOCK (2 * MIB)

enum {
	BLOCKS = 64,
	PAGE = 4096,
	BLOCK_PAGES = BLOCK / PAGE,
	REGION = 1, /* by number */
};

static const struct gmem_range ram = {{0}, 4 * MIB};
static struct gmem *mem;

static void add_plug(uint64_t len)
{
	struct error err = {0};

	cr_assert_eq(gmem_plug_add(mem, (struct gmem_range){GPA(BASE), len}, BLOCK, &err), 0, "%s",
		     err.msg);
}

static void make(enum gmem_backing backing)
{
	struct error err = {0};

	cr_assert_eq(gmem_new(&ram, 1, backing, &mem, &err), 0, "%s", err.msg);
	add_plug(BLOCKS * BLOCK);
}

static void tear_down(void)
{
	gmem_free(mem);
	mem = NULL;
}

TestSuite(gmem_plug, .fini = tear_down);

static gpa_t block(uint64_t index)
{
	return GPA(BASE + index * BLOCK);
}

static void plug(uint64_t first, uint64_t count)
{
	struct error err = {0};

	cr_assert_eq(gmem_plug(mem, (struct gmem_blocks){first, count}, &err), 0, "%s", err.msg);
}

static void unplug(uint64_t first, uint64_t count)
{
	const struct gmem_blocks blocks = {first, count};
	struct error err = {0};

	cr_assert_eq(gmem_unplug(mem, blocks, &err), 0, "%s", err.msg);
	cr_assert_eq(gmem_plug_discard(mem, blocks), 0);
}

static void put(gpa_t gpa, uint64_t value)
{
	cr_assert_eq(gmem_write(mem, gpa, &value, sizeof(value)), 0, "%#llx",
		     (unsigned long long)gpa.v);
}

static uint64_t get(gpa_t gpa)
{
	uint64_t value;

	cr_assert_eq(gmem_read(mem, gpa, &value, sizeof(value)), 0);
	return value;
}

/* Pages that the process has of the region. */
static size_t resident(void)
{
	static unsigned char pages[BLOCKS * BLOCK_PAGES];
	struct gmem_slot slot = gmem_slot(mem, REGION);
	size_t count = 0;

	cr_assert_eq(mincore((void *)(uintptr_t)slot.hva, slot.len, pages), 0); // NOLINT
	for (size_t i = 0; i < ARRAY_COUNT(pages); i++) {
		count += pages[i] & 1;
	}
	return count;
}

static const enum gmem_backing kinds[] = {GMEM_ANON, GMEM_ANON_THP, GMEM_MEMFD};

Test(gmem_plug, what_is_not_plugged_is_no_ram)
{
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		struct iovec iov[GMEM_REGIONS_MAX];
		uint64_t word = 1;
		size_t count;

		make(kinds[i]);
		plug(1, 2);
		cr_expect(!gmem_contains(mem, block(0), 1));
		cr_expect(gmem_contains(mem, block(1), 2 * BLOCK));
		cr_expect(!gmem_contains(mem, block(1), 2 * BLOCK + 1));
		cr_expect(!gmem_contains(mem, GPA(block(1).v - 1), 2));
		cr_expect_eq(gmem_read(mem, GPA(block(1).v - 4), &word, sizeof(word)), -1);
		cr_expect_eq(gmem_write(mem, GPA(block(3).v - 4), &word, sizeof(word)), -1);
		cr_expect_eq(gmem_discard(mem, block(3), PAGE), -1);
		cr_expect_eq(gmem_iov(mem, (struct gmem_range){block(2), BLOCK + 1}, GMEM_READ, iov,
				      &count),
			     -1);
		cr_expect_eq(gmem_iov(mem, (struct gmem_range){block(1), 2 * BLOCK}, GMEM_READ, iov,
				      &count),
			     0);
		cr_expect(count == 1 && iov[0].iov_len == 2 * BLOCK);
		put(GPA(block(3).v - 8), 7);
		unplug(2, 1);
		cr_expect(!gmem_contains(mem, block(2), 1) && gmem_contains(mem, block(1), BLOCK));
		tear_down();
	}
}

Test(gmem_plug, what_is_unplugged_is_freed_and_zero_when_it_comes_back)
{
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		make(kinds[i]);
		cr_expect_eq(resident(), 0);
		plug(0, BLOCKS);
		cr_expect_eq(resident(), 0, "plugging costs nothing");
		for (uint64_t at = 0; at < BLOCKS; at++) {
			put(block(at), at + 1);
		}
		cr_expect_geq(resident(), BLOCKS);
		unplug(8, BLOCKS - 8);
		cr_expect_leq(resident(), 8 * BLOCK_PAGES);
		cr_expect_eq(get(block(7)), 8);
		plug(8, BLOCKS - 8);
		cr_expect_eq(get(block(8)), 0);
		cr_expect_eq(gmem_plugged(mem, (struct gmem_blocks){0, BLOCKS}), BLOCKS);
		tear_down();
	}
}

/* The kernel's accesses fail as ours do: by an error, without a signal. */
Test(gmem_plug, calls_on_what_was_unplugged_meanwhile_get_efault)
{
	struct iovec iov[GMEM_REGIONS_MAX];
	size_t count;
	int fds[2];

	make(GMEM_ANON);
	plug(0, 1);
	cr_assert_eq(gmem_iov(mem, (struct gmem_range){block(0), PAGE}, GMEM_WRITE, iov, &count),
		     0);
	unplug(0, 1);
	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(write(fds[1], "x", 1), 1);
	cr_expect(readv(fds[0], iov, 1) == -1 && errno == EFAULT);
	close(fds[0]);
	close(fds[1]);
}

Test(gmem_plug, a_block_with_a_ring_stays)
{
	struct virtq_config config = {
		.size = 256, .desc = block(3), .avail = block(4), .used = block(5)};
	struct virtq vq = {0};
	struct error err = {0};

	make(GMEM_ANON);
	cr_expect_eq(virtq_start(&vq, &config, mem, 0, &err), -1);
	cr_expect_str_eq(err.msg, "The descriptor table at guest address 0x8000600000 is unaligned "
				  "or not in guest memory");
	err = (struct error){0};
	plug(3, 2);
	/* Two of the three are mapped and let go again. */
	cr_expect_eq(virtq_start(&vq, &config, mem, 0, &err), -1);
	cr_expect(!gmem_plug_has_ring(mem, (struct gmem_blocks){0, BLOCKS}));
	err = (struct error){0};
	plug(5, 1);
	cr_assert_eq(virtq_start(&vq, &config, mem, 0, &err), 0, "%s", err.msg);
	for (uint64_t i = 3; i <= 5; i++) {
		cr_expect(gmem_plug_has_ring(mem, (struct gmem_blocks){i, 1}));
		cr_expect_eq(gmem_unplug(mem, (struct gmem_blocks){i, 1}, &err), -1);
		cr_expect_eq(err.kind, ERR_GUEST);
		err = (struct error){0};
	}
	virtq_stop(&vq);
	unplug(3, 3);

	/* One that lies in two blocks. */
	plug(6, 2);
	config.desc = GPA(block(7).v - 64);
	config.avail = GPA(block(6).v + 4096);
	config.used = GPA(block(6).v + 8192);
	cr_assert_eq(virtq_start(&vq, &config, mem, 0, &err), 0, "%s", err.msg);
	cr_expect(gmem_plug_has_ring(mem, (struct gmem_blocks){7, 1}));
	gmem_plug_inherit(mem); /* another process has that queue */
	cr_expect(!gmem_plug_has_ring(mem, (struct gmem_blocks){0, BLOCKS}));
}

/* A hostile guest that plugs every second block must leave mappings for everything else. */
Test(gmem_plug, a_mapping_is_split_at_a_limited_number_of_places)
{
	const struct gmem_range huge = {GPA(BASE), 128 * GIB};
	struct error err = {0};
	uint64_t at = 1;

	cr_assert_eq(gmem_new(&ram, 1, GMEM_ANON, &mem, &err), 0);
	add_plug(huge.len);
	while (gmem_plug(mem, (struct gmem_blocks){at, 1}, &err) == 0) {
		at += 2;
	}
	cr_expect_eq(at, GMEM_BORDERS_MAX + 1);
	cr_expect(strstr(err.msg, "in too many pieces") != NULL, "%s", err.msg);
	/* Along the places that are there it goes on. */
	err = (struct error){0};
	cr_expect_eq(gmem_plug(mem, (struct gmem_blocks){3, 1}, &err), -1, "it is plugged");
	err = (struct error){0};
	cr_expect_eq(gmem_unplug(mem, (struct gmem_blocks){1, 1}, &err), 0, "%s", err.msg);
	cr_expect_eq(gmem_plug(mem, (struct gmem_blocks){1, 2}, &err), 0, "%s", err.msg);
	cr_expect_eq(gmem_unplug(mem, (struct gmem_blocks){1, at - 2}, &err), 0, "%s", err.msg);
}

/* --- Snapshots --- */

static uint64_t *own_pages(void)
{
	struct error err = {0};
	uint64_t *bits = calloc(gmem_bitmap_words(mem, REGION), sizeof(*bits));

	cr_assert_eq(gmem_own_pages(mem, REGION, bits, &err), 0, "%s", err.msg);
	return bits;
}

static size_t count_bits(const uint64_t *bits)
{
	size_t count = 0;

	for (size_t i = 0; i < gmem_bitmap_words(mem, REGION); i++) {
		count += (size_t)__builtin_popcountll(bits[i]);
	}
	return count;
}

Test(gmem_plug, pages_are_told_apart_without_touching_what_is_not_plugged)
{
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		bool is_ram;

		make(kinds[i]);
		plug(1, 1);
		put(GPA(block(1).v + 5 * PAGE), 1);
		AUTO_FREE uint64_t *own = own_pages();

		cr_expect(count_bits(own) >= 1 && count_bits(own) <= BLOCK_PAGES);
		cr_expect(gmem_is_zero(mem, REGION, 0) && gmem_is_zero(mem, REGION, BLOCK_PAGES));
		cr_expect(!gmem_is_zero(mem, REGION, BLOCK_PAGES + 5));
		cr_expect_eq(gmem_ram_run(mem, REGION, 7, &is_ram), BLOCK_PAGES);
		cr_expect(!is_ram);
		cr_expect_eq(gmem_ram_run(mem, REGION, BLOCK_PAGES + 7, &is_ram), 2 * BLOCK_PAGES);
		cr_expect(is_ram);
		cr_expect_eq(gmem_ram_run(mem, 0, 3, &is_ram), ram.len / PAGE);
		cr_expect(is_ram);
		tear_down();
	}
}

/* What comes back has other bytes than a layer below has; while it is away nothing can be saved. */
Test(gmem_plug, marks_of_what_was_unplugged_stay_until_it_is_back)
{
	struct error err = {0};

	make(GMEM_ANON);
	cr_assert_eq(gmem_track_dirty(mem, &err), 0);
	size_t words = gmem_bitmap_words(mem, REGION);
	AUTO_FREE uint64_t *bits = calloc(words, sizeof(*bits));

	plug(0, 2);
	put(block(0), 1);
	gmem_dirty_take(mem, REGION, bits, words);
	cr_expect_eq(count_bits(bits), 1);
	memset(bits, 0, words * sizeof(*bits));
	unplug(1, 1);
	gmem_dirty_take(mem, REGION, bits, words);
	cr_expect_eq(count_bits(bits), 0);
	plug(1, 1);
	gmem_dirty_take(mem, REGION, bits, words);
	cr_expect_eq(count_bits(bits), BLOCK_PAGES);
	gmem_dirty_take(mem, REGION, bits, words);
}

Test(gmem_plug, blocks_are_plugged_as_they_were_saved)
{
	uint64_t bits[] = {UINT64_C(1) | UINT64_C(6) << 20 | UINT64_C(1) << 63};
	struct error err = {0};
	uint32_t words;

	make(GMEM_ANON);
	cr_assert_eq(gmem_plug_load(mem, bits, &err), 0, "%s", err.msg);
	cr_assert_eq(gmem_plug_settle(mem, &err), 0);
	cr_expect_eq(*gmem_plug_bits(mem, &words), bits[0]);
	cr_expect_eq(words, 1);
	put(block(0), 1);
	put(block(21), 1);
	put(block(22), 1);
	put(block(63), 1);
	cr_expect(!gmem_contains(mem, block(23), 1) && !gmem_contains(mem, block(1), 1));
	cr_expect_eq(gmem_plugged(mem, (struct gmem_blocks){0, BLOCKS}), 4);
	cr_expect_eq(gmem_plugged(mem, (struct gmem_blocks){20, 2}), 1);
	cr_expect_eq(gmem_plugged(mem, (struct gmem_blocks){22, 42}), 2);
}

Test(gmem_plug, on_a_file_it_is_behind_the_others)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	const uint64_t in_file = 42;
	struct error err = {0};

	cr_assert_eq(ftruncate(fd, (off_t)(ram.len + BLOCKS * BLOCK - 1)), 0);
	cr_assert_eq(gmem_new_file(&ram, 1, fd, &mem, &err), 0, "%s", err.msg);
	cr_expect_eq(
		gmem_plug_add(mem, (struct gmem_range){GPA(BASE), BLOCKS * BLOCK}, BLOCK, &err),
		-1);
	cr_expect_eq(err.kind, ERR_CORRUPT);
	err = (struct error){0};
	tear_down();
	cr_assert_eq(ftruncate(fd, (off_t)(ram.len + BLOCKS * BLOCK)), 0);
	cr_assert_eq(pwrite(fd, &in_file, sizeof(in_file), (off_t)(ram.len + BLOCK)), 8);
	cr_assert_eq(gmem_new_file(&ram, 1, fd, &mem, &err), 0, "%s", err.msg);
	add_plug(BLOCKS * BLOCK);
	plug(1, 1);
	cr_expect_eq(get(block(1)), 42);
	cr_expect_eq(gmem_len(mem), ram.len + BLOCKS * BLOCK);
	close(fd);
}

/* Over the borders of the bitmap's words. */
Test(gmem_plug, blocks_are_counted_wherever_they_begin_and_end)
{
	struct error err = {0};

	cr_assert_eq(gmem_new(&ram, 1, GMEM_ANON, &mem, &err), 0);
	add_plug(200 * BLOCK);
	plug(60, 80);
	cr_expect_eq(gmem_plugged(mem, (struct gmem_blocks){0, 200}), 80);
	cr_expect_eq(gmem_plugged(mem, (struct gmem_blocks){63, 66}), 66);
	cr_expect_eq(gmem_plugged(mem, (struct gmem_blocks){130, 70}), 10);
	cr_expect_eq(gmem_plugged(mem, (struct gmem_blocks){70, 1}), 1);
	cr_expect_eq(gmem_plugged(mem, (struct gmem_blocks){200, 0}), 0);
}

/* --- At once --- */

static _Atomic bool is_over;

/* As a vCPU's thread that starts queues, and the VMM's that reads requests. */
static void *reader(void *arg)
{
	char bytes[64];
	_Atomic unsigned *got = arg;

	while (!is_over) {
		*got += gmem_read(mem, GPA(block(0).v + 100), bytes, sizeof(bytes)) == 0;
		*got += gmem_write(mem, GPA(block(1).v - 32), bytes, sizeof(bytes)) == 0;
	}
	return NULL;
}

Test(gmem_plug, copies_on_other_threads_bear_that_blocks_come_and_go)
{
	pthread_t thread;
	_Atomic unsigned got = 0;

	make(GMEM_ANON);
	cr_assert_eq(pthread_create(&thread, NULL, reader, &got), 0);
	for (unsigned i = 0; i < 20000 || (got == 0 && i < 2000000); i++) {
		plug(0, 2);
		unplug(0, 2);
	}
	is_over = true;
	pthread_join(thread, NULL);
	cr_expect_gt(got, 0);
}
