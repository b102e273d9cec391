/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/persist/memory_file.c and vmm/base/gmem_pages.c, on real files. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/persist/memory_file.h"

enum {
	PAGE = GMEM_DIRTY_PAGE
};

static const struct gmem_range ranges[] = {{{0}, 2 * MIB}, {{8 * MIB}, MIB}};
static const uint64_t total = 3 * MIB;

static char dir[] = "/tmp/squib-memory-XXXXXX";
static char one[64], two[64];

static void enter_dir(void)
{
	cr_assert(mkdtemp(dir) != NULL);
	(void)snprintf(one, sizeof(one), "%s/one", dir);
	(void)snprintf(two, sizeof(two), "%s/two", dir);
}

static void leave_dir(void)
{
	unlink(one);
	unlink(two);
	rmdir(dir);
}

TestSuite(memory_file, .init = enter_dir, .fini = leave_dir);

static struct gmem *make(void)
{
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert(gmem_new(ranges, 2, GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
	return mem;
}

static struct gmem *map(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert(gmem_new_file(ranges, 2, fd, &mem, &err) == 0, "%s", err.msg);
	return mem;
}

static void fill(struct gmem *mem, uint64_t gpa, uint8_t byte)
{
	uint8_t page[PAGE];

	memset(page, byte, sizeof(page));
	cr_assert(gmem_write(mem, GPA(gpa), page, sizeof(page)) == 0);
}

/* A file of `len` bytes of one value. */
static void make_file(const char *path, uint64_t len, uint8_t byte)
{
	FILE *file = fopen(path, "we");

	for (uint64_t i = 0; i < len; i++) {
		fputc(byte, file);
	}
	cr_assert(fclose(file) == 0);
}

static void save(const struct gmem *mem, const char *path)
{
	struct error err = {0};
	_Atomic uint64_t done = 0;

	cr_assert(memory_file_save(mem, path, &done, &err) == 0, "%s", err.msg);
	cr_assert_eq(done, gmem_len(mem));
}

static uint64_t file_len(const char *path)
{
	struct stat st;

	cr_assert(stat(path, &st) == 0);
	return (uint64_t)st.st_size;
}

static uint64_t file_data(const char *path)
{
	struct stat st;

	cr_assert(stat(path, &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

/* The file has each byte of the memory. */
static void assert_same(const struct gmem *mem, const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t offset = 0;
	uint8_t want[PAGE];
	uint8_t got[PAGE];

	for (size_t i = 0; i < 2; i++) {
		for (uint64_t at = 0; at < ranges[i].len; at += PAGE, offset += PAGE) {
			cr_assert(gmem_read(mem, GPA(ranges[i].base.v + at), want, PAGE) == 0);
			cr_assert(pread(fd, got, PAGE, (off_t)offset) == PAGE);
			cr_assert(memcmp(want, got, PAGE) == 0, "offset %#llx of %s",
				  (unsigned long long)offset, path);
		}
	}
}

Test(memory_file, only_pages_that_are_not_zero_take_room)
{
	unsigned fds = kvm_fake_open_fds();
	struct gmem *mem = make();

	fill(mem, 3 * PAGE, 0);
	fill(mem, 4 * PAGE, 1);
	fill(mem, 8 * MIB, 2);
	fill(mem, 9 * MIB - PAGE, 3);
	save(mem, one);
	cr_assert(file_len(one) == total);
	cr_assert(file_data(one) == 3 * PAGE, "%llu", (unsigned long long)file_data(one));
	assert_same(mem, one);
	gmem_free(mem);
	cr_assert(kvm_fake_open_fds() == fds);
}

Test(memory_file, a_file_of_that_length_is_updated_in_place)
{
	struct gmem *mem = make();
	struct stat before;
	struct stat after;

	make_file(one, total, 0xff);
	cr_assert(stat(one, &before) == 0);
	fill(mem, PAGE, 1);
	fill(mem, 2 * PAGE, 0);
	save(mem, one);
	cr_assert(stat(one, &after) == 0 && after.st_ino == before.st_ino);
	assert_same(mem, one);
	cr_assert(file_data(one) == PAGE);
	gmem_free(mem);
}

Test(memory_file, of_a_file_of_another_length_nothing_stays)
{
	static const uint64_t lens[] = {1, 4 * MIB};
	struct gmem *mem = make();

	fill(mem, PAGE, 1);
	for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
		make_file(one, lens[i], 0xff);
		save(mem, one);
		cr_assert(file_len(one) == total);
		assert_same(mem, one);
	}
	gmem_free(mem);
}

/* A memory on `one`, of which some pages are written to. */
static struct gmem *make_loaded(void)
{
	struct gmem *mem = make();

	fill(mem, 0, 1);
	fill(mem, PAGE, 2);
	fill(mem, 8 * MIB + PAGE, 3);
	save(mem, one);
	gmem_free(mem);
	mem = map(one);
	fill(mem, PAGE, 0);
	fill(mem, 2 * PAGE, 4);
	fill(mem, 9 * MIB - PAGE, 5);
	return mem;
}

Test(memory_file, of_a_loaded_machine_what_is_in_its_file_is_copied)
{
	struct gmem *mem = make_loaded();

	save(mem, two);
	assert_same(mem, two);
	cr_assert(file_data(two) == 4 * PAGE);
	make_file(two, total, 0xff);
	save(mem, two);
	assert_same(mem, two);
	cr_assert(file_data(two) == 4 * PAGE);
	gmem_free(mem);
}

Test(memory_file, the_file_that_the_memory_is_mapped_from_may_be_the_target)
{
	struct gmem *mem = make_loaded();

	save(mem, one);
	assert_same(mem, one);
	cr_assert(file_data(one) == 4 * PAGE);
	fill(mem, 5 * PAGE, 6);
	save(mem, one);
	assert_same(mem, one);
	gmem_free(mem);
}

Test(memory_file, a_longer_file_that_the_memory_is_mapped_from_is_not_cut)
{
	struct gmem *mem = make_loaded();

	cr_assert(truncate(one, (off_t)(total + 1)) == 0);
	save(mem, one);
	cr_assert(file_len(one) == total + 1);
	assert_same(mem, one);
	gmem_free(mem);
}

Test(memory_file, changed_pages_are_written_zeroes_too)
{
	struct gmem *mem = make();
	struct page_sets changed;
	struct error err = {0};

	fill(mem, 0, 1);
	fill(mem, 8 * MIB, 2);
	cr_assert(page_sets_init(&changed, mem, &err) == 0);
	changed.bits[0][0] = UINT64_C(1) << 7;
	changed.bits[1][0] = 1;
	cr_assert(memory_file_save_pages(mem, &changed, one, &err) == 0, "%s", err.msg);
	cr_assert(file_len(one) == total && file_data(one) == 2 * PAGE);
	make_file(two, total, 0xff);
	cr_assert(memory_file_save_pages(mem, &changed, two, &err) == 0, "%s", err.msg);

	AUTO_FD fd = open(two, O_RDONLY | O_CLOEXEC);
	static const struct {
		uint64_t page;
		uint8_t byte;
	} rows[] = {{0, 0xff}, {6, 0xff}, {7, 0}, {8, 0xff}, {512, 2}, {513, 0xff}};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint8_t byte = 1;

		cr_assert(pread(fd, &byte, 1, (off_t)(rows[i].page * PAGE)) == 1);
		cr_expect(byte == rows[i].byte, "page %llu", (unsigned long long)rows[i].page);
	}
	page_sets_destroy(&changed);
	gmem_free(mem);
}

Test(memory_file, memory_that_can_not_be_mapped_is_copied)
{
	struct gmem *mem = make();
	struct error err = {0};

	fill(mem, PAGE, 1);
	fill(mem, 2 * MIB - PAGE, 2);
	fill(mem, 8 * MIB, 3);
	save(mem, one);
	gmem_free(mem);
	mem = make();
	AUTO_FD fd = open(one, O_RDWR | O_CLOEXEC);

	cr_assert(memory_file_load(mem, fd, &err) == 0, "%s", err.msg);
	assert_same(mem, one);
	/* What is a hole in the file was not touched. */
	save(mem, two);
	cr_assert(file_data(two) == 3 * PAGE);
	cr_assert(ftruncate(fd, (off_t)total - 1) == 0);
	cr_assert(memory_file_load(mem, fd, &err) == -1 && err.kind == ERR_CORRUPT);
	gmem_free(mem);
}

Test(memory_file, what_can_not_be_written_is_an_error)
{
	const struct rlimit limit = {.rlim_cur = MIB, .rlim_max = MIB};
	const struct {
		const char *path;
		const char *message;
	} rows[] = {
		{one, "No such device or address (os error 6)"},
		{dir, "Is a directory (os error 21)"},
		{"/dev/null", "it is not a regular file"},
		{"/nowhere/file", "No such file or directory (os error 2)"},
	};
	unsigned fds = kvm_fake_open_fds();
	struct gmem *mem = make();

	fill(mem, 0, 1);
	cr_assert(mkfifo(one, 0600) == 0);
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct error err = {0};

		cr_assert(memory_file_save(mem, rows[i].path, NULL, &err) == -1);
		char message[256];

		(void)snprintf(message, sizeof(message),
			       "Cannot perform open on the memory backing file: %s: %s",
			       rows[i].message, rows[i].path);
		cr_expect_str_eq(err.msg, message);
	}
	signal(SIGXFSZ, SIG_IGN);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);

	struct error err = {0};

	cr_assert(memory_file_save(mem, two, NULL, &err) == -1 && err.sys == EFBIG, "%s", err.msg);
	gmem_free(mem);
	cr_assert(kvm_fake_open_fds() == fds);
}

/* --- own pages --- */

/* The own pages of the first region, as numbers in a text. */
static void own_pages(const struct gmem *mem, char *text, size_t cap)
{
	uint64_t bits[8] = {0};
	struct error err = {0};
	size_t len = 0;

	cr_assert(gmem_bitmap_words(mem, 0) == ARRAY_COUNT(bits));
	cr_assert(gmem_own_pages(mem, 0, bits, &err) == 0, "%s", err.msg);
	text[0] = '\0';
	for (unsigned i = 0; i < 512 && len < cap; i++) {
		if ((bits[i / 64] >> i % 64 & 1) != 0) {
			len += (size_t)snprintf(text + len, cap - len, "%u ", i);
		}
	}
}

static void assert_own_pages(void)
{
	struct gmem *anon = make();
	struct gmem *loaded = make_loaded();
	char text[64];

	own_pages(anon, text, sizeof(text));
	cr_assert_str_eq(text, "");
	fill(anon, 63 * PAGE, 1);
	fill(anon, 64 * PAGE, 1);
	fill(anon, 2 * MIB - PAGE, 1);
	own_pages(anon, text, sizeof(text));
	cr_assert_str_eq(text, "63 64 511 ");
	/* A page that was only read is not own. */
	cr_assert(!gmem_is_zero(loaded, 0, 0));
	own_pages(loaded, text, sizeof(text));
	cr_assert_str_eq(text, "1 2 ");
	gmem_free(anon);
	gmem_free(loaded);
}

Test(memory_file, page_tables_tell_own_pages)
{
	assert_own_pages();
}

static void hide_proc(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/proc", "tmpfs", 0, NULL) < 0) {
		cr_skip_test("/proc can't be hidden from here");
	}
}

Test(memory_file, without_proc_own_pages_are_the_same)
{
	hide_proc();
	assert_own_pages();
}

/* Pages of the file that are in the page cache, of the first region's. */
static unsigned cached_pages(int fd)
{
	const size_t len = 2 * MIB;
	unsigned char is_in[2 * MIB / PAGE];
	void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	unsigned count = 0;

	cr_assert(map != MAP_FAILED && mincore(map, len, is_in) == 0);
	for (size_t i = 0; i < sizeof(is_in); i++) {
		count += is_in[i] & 1;
	}
	munmap(map, len);
	return count;
}

/* A jailed machine whose memory file is large is not brought in for a save. */
Test(memory_file, without_proc_what_is_not_in_memory_is_not_read)
{
	struct sysinfo info;
	char text[64];

	hide_proc();
	if (sysinfo(&info) < 0 || info.totalswap > 0) {
		cr_skip_test("this host swaps");
	}
	struct gmem *loaded = make_loaded();
	int fd = gmem_slot(loaded, 0).fd;

	/* Readahead has brought it all. */
	cr_assert(fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	unsigned before = cached_pages(fd);

	own_pages(loaded, text, sizeof(text));
	cr_assert_str_eq(text, "1 2 ");
	/* What a read of a page that is cached brings with it, and not all that there is. */
	unsigned after = cached_pages(fd);

	cr_assert_leq(after, before + 64, "%u pages, before %u", after, before);
	gmem_free(loaded);
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The kernel goes through all pages up to the hole that it is asked for. */
Test(memory_file, own_pages_of_shared_memory_are_looked_at_once)
{
	const struct gmem_range range = {GPA(0), 128 * MIB};
	uint64_t one_ns = UINT64_MAX, all_ns = UINT64_MAX;
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert_eq(gmem_new(&range, 1, GMEM_MEMFD, &mem, &err), 0, "%s", err.msg);
	uint64_t *bits = calloc(gmem_bitmap_words(mem, 0), sizeof(*bits));

	for (uint64_t gpa = 0; gpa < range.len; gpa += PAGE) {
		const uint8_t byte = 1;

		cr_assert_eq(gmem_write(mem, GPA(gpa), &byte, 1), 0);
	}
	for (unsigned i = 0; i < 5; i++) {
		uint64_t begin_ns = cpu_ns();

		cr_assert_eq(lseek(gmem_slot(mem, 0).fd, 0, SEEK_HOLE), (off_t)range.len);
		one_ns = min_u64(one_ns, cpu_ns() - begin_ns);
		begin_ns = cpu_ns();
		cr_assert_eq(gmem_own_pages(mem, 0, bits, &err), 0, "%s", err.msg);
		all_ns = min_u64(all_ns, cpu_ns() - begin_ns);
	}
	cr_expect_eq(bits[gmem_bitmap_words(mem, 0) - 1], UINT64_MAX);
	cr_expect_lt(all_ns, 1000 * one_ns, "%llu ns, and one look takes %llu",
		     (unsigned long long)all_ns, (unsigned long long)one_ns);
	free(bits);
	gmem_free(mem);
}
