/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/gmem_pmem.c: files as guest memory, and what becomes of those that are cut. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/base/gmem_pmem.h"

#define ROOM (512 * GIB)

static const struct gmem_range ram = {{0}, 4 * MIB};
static struct gmem *mem;
static struct error err;
static unsigned fds;

static void begin(void)
{
	fds = kvm_fake_open_fds();
	cr_assert(gmem_new(&ram, 1, GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
}

static void end(void)
{
	gmem_free(mem);
	cr_expect_eq(kvm_fake_open_fds(), fds);
}

TestSuite(gmem_pmem, .init = begin, .fini = end);

static int sparse(uint64_t len)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	cr_assert(fd >= 0 && ftruncate(fd, (off_t)len) == 0);
	return fd;
}

static struct gmem_pmem_file describe(int fd, bool is_private)
{
	return (struct gmem_pmem_file){
		.name = "p", .fd = fd, .is_private = is_private, .room = {{ROOM}, 64 * MIB}};
}

static unsigned add(int fd, bool is_private)
{
	const struct gmem_pmem_file file = describe(fd, is_private);
	unsigned index;

	cr_assert(gmem_pmem_add(mem, &file, &index, &err) == 0, "%s", err.msg);
	return index;
}

static uint64_t base_of(unsigned index)
{
	struct gmem_pmem_info info;

	cr_assert(gmem_pmem_get(mem, index, &info));
	return info.base.v;
}

static bool refuses(const struct gmem_pmem_file *file, const char *text)
{
	unsigned index;

	error_clear(&err);
	bool result = gmem_pmem_add(mem, file, &index, &err) < 0 && strstr(err.msg, text) != NULL;

	cr_expect(result, "%s", err.msg);
	return result;
}

Test(gmem_pmem, a_file_is_read_and_written_where_the_guest_has_it)
{
	AUTO_FD fd = sparse(2 * MIB + 100);
	unsigned index = add(fcntl(fd, F_DUPFD, 0), false);
	static char text[200 * 1024];
	static char got[sizeof(text)];
	struct gmem_pmem_info info;

	cr_assert(gmem_pmem_get(mem, index, &info));
	cr_expect(info.base.v == ROOM && info.len == 4 * MIB && info.file_len == 2 * MIB + 100);
	memset(text, 'x', sizeof(text));
	cr_assert(gmem_write(mem, GPA(ROOM + 5), text, sizeof(text)) == 0);
	cr_assert(pread(fd, got, sizeof(got), 5) == sizeof(got));
	cr_expect(memcmp(text, got, sizeof(got)) == 0, "the file has what was written");
	memset(got, 0, sizeof(got));
	cr_assert(gmem_read(mem, GPA(ROOM + 5), got, sizeof(got)) == 0);
	cr_expect(memcmp(text, got, sizeof(got)) == 0);
	/* Behind the file's end is memory, which the file does not get. */
	cr_assert(gmem_write(mem, GPA(ROOM + 4 * MIB - 8), text, 8) == 0);
	cr_assert(gmem_read(mem, GPA(ROOM + 4 * MIB - 8), got, 8) == 0);
	cr_expect(got[7] == 'x' && lseek(fd, 0, SEEK_END) == 2 * MIB + 100);
	cr_expect(gmem_pmem_is_whole(mem, index) && !gmem_pmem_is_torn(mem));
}

Test(gmem_pmem, a_private_file_keeps_its_bytes)
{
	AUTO_FD fd = sparse(MIB);
	char got = 0;

	add(fcntl(fd, F_DUPFD, 0), true);
	cr_assert(gmem_write(mem, GPA(ROOM), "x", 1) == 0);
	cr_expect(gmem_read(mem, GPA(ROOM), &got, 1) == 0 && got == 'x');
	cr_expect(pread(fd, &got, 1, 0) == 1 && got == 0);
}

Test(gmem_pmem, it_is_no_ram)
{
	struct iovec iov[GMEM_REGIONS_MAX];
	size_t count = 7;

	add(sparse(2 * MIB), false);
	add(sparse(2 * MIB), false);
	cr_expect(gmem_len(mem) == 4 * MIB && gmem_region_count(mem) == 1);
	cr_expect(gmem_contains(mem, GPA(ROOM), 2 * MIB));
	cr_expect(gmem_ring_map(mem, GPA(ROOM), 64) == NULL);
	cr_expect(gmem_discard(mem, GPA(ROOM), 4096) < 0);
	/* A range lies in one file; two that touch would need an iovec for each. */
	cr_expect(!gmem_contains(mem, GPA(ROOM + 2 * MIB - 1), 2));
	cr_expect(gmem_write(mem, GPA(ROOM + 2 * MIB - 1), "xy", 2) < 0);
	cr_expect(gmem_read(mem, GPA(ROOM + 4 * MIB - 1), &count, 2) < 0);
	cr_expect(gmem_iov(mem, (struct gmem_range){GPA(ROOM + 2 * MIB - 1), 2}, GMEM_WRITE, iov,
			   &count) < 0 &&
		  count == 0);
	cr_expect(gmem_iov(mem, (struct gmem_range){GPA(ROOM + 10), 100}, GMEM_WRITE, iov,
			   &count) == 0 &&
		  count == 1 && iov[0].iov_len == 100);
	cr_expect(!gmem_contains(mem, GPA(ROOM + 10), UINT64_MAX));
	/* Marks of what was written are of RAM alone. */
	cr_assert(gmem_track_dirty(mem, &err) == 0);
	cr_expect(gmem_write(mem, GPA(ROOM), "x", 1) == 0);
}

Test(gmem_pmem, each_file_has_the_first_free_place)
{
	unsigned first = add(sparse(3 * MIB), false);
	unsigned second = add(sparse(1), false);

	cr_expect(base_of(first) == ROOM && base_of(second) == ROOM + 4 * MIB);
	gmem_pmem_remove(mem, first);
	gmem_pmem_clear(mem, first);
	cr_expect(!gmem_contains(mem, GPA(ROOM), 1));
	cr_expect_eq(base_of(add(sparse(MIB), false)), ROOM);
	cr_expect_eq(base_of(add(sparse(3 * MIB), false)), ROOM + 6 * MIB);
	cr_expect_eq(base_of(add(sparse(2 * MIB), false)), ROOM + 2 * MIB);
}

Test(gmem_pmem, ram_in_the_room_is_left_out)
{
	const struct gmem_range ranges[] = {{{0}, MIB}, {{ROOM}, 3 * MIB}};
	struct gmem_pmem_file file = describe(sparse(MIB), false);
	unsigned index;

	gmem_free(mem);
	cr_assert(gmem_new(ranges, 2, GMEM_ANON, &mem, &err) == 0);
	cr_assert(gmem_pmem_add(mem, &file, &index, &err) == 0, "%s", err.msg);
	cr_expect_eq(base_of(index), ROOM + 4 * MIB);
}

Test(gmem_pmem, what_has_no_place_is_refused_and_changes_nothing)
{
	struct gmem_pmem_file file = describe(sparse(62 * MIB), false);
	unsigned index;

	cr_assert(gmem_pmem_add(mem, &file, &index, &err) == 0, "%s", err.msg);
	AUTO_FD more = sparse(3 * MIB);

	file = describe(more, false);
	refuses(&file, "There are no addresses for 4194304 bytes");
	/* Of a machine that was saved: unaligned, in the RAM, over another file, over the end. */
	static const uint64_t places[] = {ROOM + 62 * MIB + 4096,
					  MIB,
					  ROOM,
					  ROOM + 60 * MIB,
					  ROOM + 62 * MIB,
					  ROOM - 2 * MIB,
					  UINT64_MAX - 2 * MIB + 1};

	for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
		file.base = places[i];
		refuses(&file, "There is no place for 4194304 bytes of persistent memory where it "
			       "was");
	}
	AUTO_FD empty = sparse(0);

	file = describe(empty, false);
	refuses(&file, "Error backing file size is 0");
	cr_assert(ftruncate(more, MIB) == 0);
	file = describe(more, false);
	file.base = ROOM + 62 * MIB;
	error_clear(&err);
	cr_expect(gmem_pmem_add(mem, &file, &index, &err) == 0, "%s", err.msg);
	(void)fd_take(&more);
}

Test(gmem_pmem, a_machine_has_so_many_and_no_more)
{
	AUTO_FD last = sparse(1);
	struct gmem_pmem_file file;
	unsigned index;

	for (unsigned i = 0; i < GMEM_PMEM_MAX; i++) {
		file = describe(sparse(1), false);
		file.room.len = GIB;
		cr_assert(gmem_pmem_add(mem, &file, &index, &err) == 0, "%s", err.msg);
	}
	file = describe(last, false);
	refuses(&file, "at most 128 devices of persistent memory");
}

Test(gmem_pmem, a_file_that_is_cut_is_an_error_and_then_zeroes)
{
	AUTO_FD fd = sparse(2 * MIB);
	unsigned index = add(fcntl(fd, F_DUPFD, 0), false);
	char got[16] = "";

	cr_assert(gmem_write(mem, GPA(ROOM + 100), "kept", 5) == 0);
	cr_assert(gmem_write(mem, GPA(ROOM + MIB), "lost", 5) == 0);
	cr_assert(ftruncate(fd, 8192 + 1) == 0);
	/* No SIGBUS here. */
	cr_expect(gmem_read(mem, GPA(ROOM + MIB), got, 5) < 0);
	cr_expect(gmem_write(mem, GPA(ROOM + MIB), "x", 1) < 0);
	cr_expect(!gmem_pmem_is_whole(mem, index));
	cr_assert(gmem_pmem_is_torn(mem));
	int log = capture_log(LOG_ERROR);

	fds += 2;
	gmem_pmem_mend(mem);
	cr_expect(strstr(captured(log), "The file of the pmem device p was cut from 2097152 to "
					"8193 bytes") != NULL,
		  "%s", captured(log));
	cr_expect(!gmem_pmem_is_torn(mem), "there is nothing left to mend");
	cr_expect(gmem_read(mem, GPA(ROOM + 100), got, 5) == 0 && strcmp(got, "kept") == 0);
	cr_expect(gmem_read(mem, GPA(ROOM + MIB), got, 5) == 0 && got[0] == '\0');
	cr_expect(gmem_write(mem, GPA(ROOM + MIB), "new", 4) == 0);
	cr_expect(gmem_read(mem, GPA(ROOM + MIB), got, 4) == 0 && strcmp(got, "new") == 0);
	/* What somebody adds again is not what the guest has. */
	cr_assert(ftruncate(fd, 2 * MIB) == 0);
	cr_expect(!gmem_pmem_is_whole(mem, index) && !gmem_pmem_is_torn(mem));
}

Test(gmem_pmem, a_file_that_is_cut_and_longer_again_is_looked_at_once, .timeout = 20)
{
	static const char page[4096] = "data";
	AUTO_FD fd = sparse(2 * MIB);

	cr_assert(pwrite(fd, page, sizeof(page), 0) == sizeof(page));
	add(fcntl(fd, F_DUPFD, 0), false);
	cr_assert(ftruncate(fd, sizeof(page)) == 0);
	gmem_pmem_mend(mem);
	/* No hole is in what the guest has of it. */
	cr_assert(ftruncate(fd, 2 * MIB) == 0);
	cr_expect(!gmem_pmem_is_torn(mem));
	(void)gmem_pmem_watch(mem);
}

Test(gmem_pmem, holes_that_the_disk_has_room_for_are_no_fault)
{
	AUTO_FD fd = sparse(2 * MIB);

	cr_assert(pwrite(fd, "data", 4, MIB) == 4);
	add(fcntl(fd, F_DUPFD, 0), false);
	cr_expect(!gmem_pmem_is_torn(mem));
	gmem_pmem_mend(mem);
	cr_expect(gmem_write(mem, GPA(ROOM + MIB / 2), "x", 1) == 0);
	char got = 0;

	cr_expect(pread(fd, &got, 1, MIB / 2) == 1 && got == 'x', "it is the file's as before");
}

/* A file of holes behind a first page, on a file system of 128 KiB. */
static int on_small_disk(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/mnt", "tmpfs", 0, "size=128k") < 0) {
		cr_skip_test("no rights to mount");
	}
	int fd = open("/mnt/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && ftruncate(fd, 2 * MIB) == 0 && pwrite(fd, "kept", 4, 0) == 4);
	return fd;
}

/* All of it but `room` bytes. */
static int fill_disk_but(uint64_t room)
{
	struct statfs fs;
	int fd = open("/mnt/ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && statfs("/mnt", &fs) == 0);
	cr_assert(fallocate(fd, 0, 0, (off_t)(fs.f_bavail * (uint64_t)fs.f_bsize - room)) == 0);
	return fd;
}

Test(gmem_pmem, holes_of_a_full_disk_are_closed_until_one_is_missed)
{
	AUTO_FD fd = on_small_disk();
	unsigned index = add(fcntl(fd, F_DUPFD, 0), false);
	char got[5];

	cr_expect(!gmem_pmem_watch(mem) && !gmem_pmem_is_torn(mem), "there is room");
	cr_assert(gmem_write(mem, GPA(ROOM + 8192), "more", 5) == 0);
	AUTO_FD ballast = fill_disk_but(4096);

	cr_expect(!gmem_pmem_watch(mem), "nothing is cut");
	cr_expect(gmem_read(mem, GPA(ROOM), got, 5) == 0 && strcmp(got, "kept") == 0);
	cr_expect(gmem_read(mem, GPA(ROOM + 8192), got, 5) == 0 && strcmp(got, "more") == 0);
	cr_expect(gmem_read(mem, GPA(ROOM + MIB), got, 5) < 0, "a hole says that it is needed");
	/* By then there is room again, so nothing is lost. */
	cr_assert(ftruncate(ballast, 0) == 0 && gmem_pmem_is_torn(mem));
	gmem_pmem_mend(mem);
	cr_expect(gmem_write(mem, GPA(ROOM + MIB), "late", 5) == 0);
	cr_expect(pread(fd, got, 5, MIB) == 5 && strcmp(got, "late") == 0);
	cr_expect(gmem_pmem_is_whole(mem, index) && !gmem_pmem_is_torn(mem));
}

Test(gmem_pmem, holes_that_are_missed_are_memory)
{
	AUTO_FD fd = on_small_disk();
	unsigned index = add(fcntl(fd, F_DUPFD, 0), false);
	AUTO_FD ballast = fill_disk_but(0);
	int log = capture_log(LOG_ERROR);
	char got[5];

	fds += 2;
	cr_expect(!gmem_pmem_watch(mem) && gmem_pmem_is_torn(mem));
	gmem_pmem_mend(mem);
	cr_expect(strstr(captured(log), "has no room for the holes") != NULL, "%s", captured(log));
	cr_expect(gmem_write(mem, GPA(ROOM + MIB), "lost", 5) == 0);
	cr_expect(!gmem_pmem_watch(mem), "holes are closed once");
	cr_expect(gmem_read(mem, GPA(ROOM + MIB), got, 5) == 0 && strcmp(got, "lost") == 0);
	cr_expect(gmem_read(mem, GPA(ROOM), got, 5) == 0 && strcmp(got, "kept") == 0);
	cr_expect(!gmem_pmem_is_whole(mem, index));
}

/* Room that was set aside for one hole is none for the others. */
Test(gmem_pmem, any_hole_that_is_missed_is_found)
{
	AUTO_FD fd = on_small_disk();

	cr_assert(fallocate(fd, 0, 4096, 4096) == 0 && pwrite(fd, "data", 4, 8192) == 4);
	unsigned index = add(fcntl(fd, F_DUPFD, 0), false);
	AUTO_FD ballast = fill_disk_but(0);
	int log = capture_log(LOG_ERROR);

	fds += 2;
	cr_assert(gmem_pmem_is_torn(mem));
	cr_expect(!gmem_pmem_mend(mem));
	cr_expect(strstr(captured(log), "has no room for the holes") != NULL, "%s", captured(log));
	cr_expect(gmem_write(mem, GPA(ROOM + MIB), "lost", 5) == 0);
	cr_expect(!gmem_pmem_is_whole(mem, index));
}

enum {
	LARGE_MIB = 32, /* a hole of several looks */
};

Test(gmem_pmem, what_was_written_to_holes_of_a_private_file_stays)
{
	AUTO_FD fd = on_small_disk();

	cr_assert(ftruncate(fd, LARGE_MIB * MIB) == 0);
	unsigned index = add(fcntl(fd, F_DUPFD, 0), true);
	char got[5];

	cr_assert(gmem_write(mem, GPA(ROOM + MIB), "mine", 5) == 0);
	cr_assert(gmem_write(mem, GPA(ROOM + LARGE_MIB * MIB - 4096), "last", 5) == 0);
	/* Both were read from the file first, which gave it pages there. */
	cr_assert(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096,
			    LARGE_MIB * MIB - 4096) == 0);
	cr_expect(!gmem_pmem_watch(mem) && !gmem_pmem_is_torn(mem), "there is room");
	AUTO_FD ballast = fill_disk_but(0);
	int log = capture_log(LOG_ERROR);
	unsigned looks = 1;

	fds += 2;
	cr_expect(gmem_read(mem, GPA(ROOM + 2 * MIB), got, 5) < 0);
	cr_assert(gmem_pmem_watch(mem) && gmem_pmem_is_torn(mem));
	while (gmem_pmem_mend(mem)) {
		looks++;
	}
	cr_expect(looks > 2, "no look takes long, there were %u", looks);
	cr_expect(!gmem_pmem_watch(mem) && !gmem_pmem_is_torn(mem));
	cr_expect_eq(count_of(captured(log), "has no room for the holes"), 1, "%s", captured(log));
	cr_expect(gmem_read(mem, GPA(ROOM + MIB), got, 5) == 0 && strcmp(got, "mine") == 0);
	cr_expect(gmem_read(mem, GPA(ROOM + LARGE_MIB * MIB - 4096), got, 5) == 0 &&
		  strcmp(got, "last") == 0);
	cr_expect(gmem_read(mem, GPA(ROOM), got, 5) == 0 && strcmp(got, "kept") == 0);
	cr_expect(gmem_write(mem, GPA(ROOM + 2 * MIB), "new", 4) == 0);
	cr_expect(gmem_read(mem, GPA(ROOM + 2 * MIB), got, 4) == 0 && strcmp(got, "new") == 0);
	cr_expect(gmem_pmem_is_whole(mem, index), "nothing is lost that a file was to have");
}

Test(gmem_pmem, addresses_of_a_file_that_is_gone_are_nobody_elses)
{
	unsigned index = add(sparse(2 * MIB), false);
	struct gmem_slot slot = gmem_pmem_slot(mem, index);
	AUTO_FD source = sparse(4096);
	const struct iovec iov = {(void *)slot.hva, 4096}; // NOLINT(performance-no-int-to-ptr)

	cr_expect(slot.base.v == ROOM && slot.len == 2 * MIB && slot.hva % (2 * MIB) == 0);
	cr_expect_eq(preadv(source, &iov, 1, 0), 4096);
	gmem_pmem_remove(mem, index);
	cr_expect_eq(preadv(source, &iov, 1, 0), 4096, "a guest may still be there");
	cr_expect(!gmem_contains(mem, GPA(ROOM), 1), "no device gets there any more");
	cr_expect_eq(base_of(add(sparse(2 * MIB), false)), ROOM + 2 * MIB);
	cr_assert(gmem_pmem_is_left(mem, index));
	gmem_pmem_clear(mem, index);
	cr_expect_eq(preadv(source, &iov, 1, 0), -1, "a call that is under way fails");
	cr_expect_eq(base_of(add(sparse(2 * MIB), false)), ROOM);
}

Test(gmem_pmem, zeroes_are_where_a_file_was_and_it_keeps_its_bytes)
{
	AUTO_FD fd = sparse(2 * MIB);
	unsigned index = add(fcntl(fd, F_DUPFD, 0), false);
	struct gmem_slot slot = gmem_pmem_slot(mem, index);
	char *left = (char *)slot.hva; // NOLINT(performance-no-int-to-ptr)
	char got = 0;

	cr_assert(gmem_write(mem, GPA(ROOM), "x", 1) == 0);
	gmem_pmem_remove(mem, index);
	cr_expect_eq(left[0], 0);
	left[0] = 'y';
	cr_expect(pread(fd, &got, 1, 0) == 1 && got == 'x');
}

/* A child has its parent's memory, and none of the descriptors. */
Test(gmem_pmem, a_process_that_was_forked_begins_anew)
{
	add(sparse(2 * MIB), true);
	gmem_pmem_forget(mem);
	cr_expect_eq(gmem_pmem_end(mem), 0);
	cr_expect_eq(base_of(add(sparse(2 * MIB), true)), ROOM);
	fds += 2; /* which the child would not have */
}
