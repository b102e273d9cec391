/* SPDX-License-Identifier: Apache-2.0 */
/* The format of overlay files: what is made, and what is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_overlay.h"
#include "devices/virtio/blk/blk.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"
#include "vmm/base/fd.h"

enum {
	BASE_LEN = 300 * 1024 + 700, /* neither in clusters nor in sectors */
};

static char folder[] = "/tmp/squib-overlay-XXXXXX";

static void make(const char *path, off_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && ftruncate(fd, len) == 0);
	close(fd);
}

static void poke(const char *path, off_t at, const void *bytes, size_t len)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	cr_assert_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
	close(fd);
}

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	make("base", BASE_LEN);
	make("own", 0);
	poke("base", 0, "base", 4);
}

static void tear_down(void)
{
	unlink("base");
	unlink("own");
	unlink("other");
	cr_expect_eq(rmdir(folder), 0);
}

TestSuite(blk_overlay_file, .init = set_up, .fini = tear_down);

static int open_own(const char *base, bool is_read_only, struct blk_file *file, struct error *err)
{
	*file = (struct blk_file){.fd = -1};
	*err = (struct error){0};
	const struct blk_overlay_paths paths = {"own", base, is_read_only, true};

	return blk_file_open_overlay(&paths, file, err);
}

/* Opens it, with its map. */
static void expect_own(struct blk_file *file)
{
	struct error err;

	cr_assert_eq(open_own("base", false, file, &err), 0, "%s", err.msg);
	cr_assert_eq(blk_overlay_use(file->overlay, file->fd, false, &err), 0, "%s", err.msg);
}

static void refuse(const char *base, const char *message)
{
	struct blk_file file;
	struct error err;

	cr_assert_eq(open_own(base, false, &file, &err), -1, "%s", message);
	cr_assert_str_eq(err.msg, message);
	cr_assert_eq(file.fd, -1);
}

Test(blk_overlay_file, an_empty_file_becomes_an_overlay_that_takes_no_space)
{
	struct blk_file file;
	struct stat st;

	expect_own(&file);
	cr_assert_eq(file.sectors, BASE_LEN / 512);
	cr_assert_eq(file.overlay->head.cluster_shift, 16);
	cr_assert_str_eq(file.overlay->head.base_name, "base");
	cr_assert_eq(overlay_find(file.overlay->own, 0, 5, true), 5);
	cr_assert_eq(fstat(file.fd, &st), 0);
	cr_assert_eq(st.st_size, (off_t)file.overlay->data_at + BASE_LEN - 188);
	cr_assert_leq(st.st_blocks * 512, 8192);
	blk_file_close(&file);
	cr_assert_null(file.overlay);
	/* And is one when it is opened again. */
	expect_own(&file);
	cr_assert_eq(file.sectors, BASE_LEN / 512);
	blk_file_close(&file);
}

Test(blk_overlay_file, neither_a_missing_file_nor_one_to_be_read_is_made)
{
	static const struct blk_overlay_paths as_it_is = {"own", "base", false, false};
	struct blk_file file;
	struct error err;

	cr_assert_eq(open_own("base", true, &file, &err), -1);
	cr_assert_str_eq(err.msg,
			 "The file own is no overlay to use: it is too short for a header");
	error_clear(&err);
	cr_assert_eq(blk_file_open_overlay(&as_it_is, &file, &err), -1);
	unlink("own");
	refuse("base", "Error manipulating the backing file: No such file or directory "
		       "(os error 2) own");
}

Test(blk_overlay_file, a_disk_may_be_longer_than_its_base_with_zeroes_behind)
{
	struct overlay_head head = {.cluster_shift = 16, .disk_len = 1 << 20};
	struct error err = {0};
	struct blk_file file;
	char tail[700];
	int base = open("base", O_RDWR | O_CLOEXEC);
	int own = open("own", O_RDWR | O_CLOEXEC);

	memset(tail, 'x', sizeof(tail));
	poke("base", BASE_LEN - 700, tail, sizeof(tail));
	cr_assert_eq(overlay_format(own, base, BASE_LEN, &head, &err), 0, "%s", err.msg);
	close(own);
	close(base);
	expect_own(&file);
	cr_assert_eq(file.sectors, 2048);
	/* The cluster that the base ends in is copied, and none behind it is the base's. */
	cr_assert_eq(overlay_find(file.overlay->own, 0, 16, true), 4);
	cr_assert_eq(overlay_find(file.overlay->own, 4, 16, false), 16);
	char data[1400];

	cr_assert_eq(pread(file.fd, data, 1400, (off_t)file.overlay->data_at + BASE_LEN - 700),
		     1400);
	cr_assert_arr_eq(data, tail, 700);
	cr_assert(data[700] == 0 && data[1399] == 0);
	blk_file_close(&file);
}

/* A header with one field changed, and its sum mended. */
static void spoil(size_t at, uint64_t value, size_t len)
{
	uint8_t head[OVERLAY_BLOCK];
	int fd = open("own", O_RDWR | O_CLOEXEC);

	cr_assert_eq(pread(fd, head, sizeof(head), 0), sizeof(head));
	memcpy(head + at, &value, len);
	store_le64(head + OVERLAY_BLOCK - 8, crc64(head, OVERLAY_BLOCK - 8));
	cr_assert_eq(pwrite(fd, head, sizeof(head), 0), sizeof(head));
	close(fd);
}

Test(blk_overlay_file, each_field_of_a_header_is_checked)
{
	static const struct {
		size_t at;
		uint64_t value;
		size_t len;
		const char *message;
	} cases[] = {
		{0, 'X', 1, "its first bytes are not those of an overlay"},
		{8, 2, 4, "its format has the version 2, and this squib knows version 1"},
		{12, 11, 4, "its clusters are of 2^11 bytes, which must be 2^12 to 2^18"},
		{12, 19, 4, "its clusters are of 2^19 bytes, which must be 2^12 to 2^18"},
		{12, UINT32_MAX, 4,
		 "its clusters are of 2^4294967295 bytes, which must be 2^12 to 2^18"},
		{16, 513, 8,
		 "the length of its disk, 513 bytes, is not in sectors of 512, or less than that "
		 "of "
		 "its base"},
		{16, 512, 8,
		 "the length of its disk, 512 bytes, is not in sectors of 512, or less than that "
		 "of "
		 "its base"},
		{16, UINT64_C(1) << 62, 8,
		 "the length of its disk, 4611686018427387904 bytes, is beyond the limit for "
		 "clusters of 65536 bytes, 2199023255552"},
		{16, UINT64_C(1) << 40, 8,
		 "it has 569856 bytes, and its header says 1099513987072"},
		{24, UINT64_MAX, 8,
		 "the length of its disk, 307712 bytes, is not in sectors of 512, or less than "
		 "that "
		 "of its base"},
	};
	struct blk_file file;
	char message[512];
	uint8_t good[OVERLAY_BLOCK];

	expect_own(&file);
	cr_assert_eq(pread(file.fd, good, sizeof(good), 0), sizeof(good));
	blk_file_close(&file);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		spoil(cases[i].at, cases[i].value, cases[i].len);
		snprintf(message, sizeof(message), "The file own is no overlay to use: %s",
			 cases[i].message);
		refuse("base", message);
		poke("own", 0, good, sizeof(good));
	}
	poke("own", 2000, "x", 1);
	refuse("base", "The file own is no overlay to use: the checksum of its header is wrong");
	poke("own", 0, good, sizeof(good));
	cr_assert_eq(truncate("own", 4095), 0);
	refuse("base", "The file own is no overlay to use: it is too short for a header");
	/* A raw file that is given a base is not taken for an overlay, and stays as it is. */
	make("own", 1 << 20);
	refuse("base", "The file own is no overlay to use: its first bytes are not those of an "
		       "overlay");
	unlink("own");
	cr_assert_eq(symlink("/dev/null", "own"), 0);
	refuse("base", "The file own is no overlay to use: it is not a regular file");
}

Test(blk_overlay_file, another_base_is_refused)
{
	struct blk_file file;

	expect_own(&file);
	blk_file_close(&file);
	make("other", BASE_LEN - 512);
	refuse("other", "The overlay own was made over another base, of 307900 bytes (base), and "
			"this one has 307388");
	make("other", BASE_LEN);
	refuse("other", "The overlay own was made over another base (base), or that has changed "
			"since: its first or last 4 KiB are others");
	poke("base", BASE_LEN - 1, "x", 1);
	refuse("base", "The overlay own was made over another base (base), or that has changed "
		       "since: its first or last 4 KiB are others");
	refuse("none", "Error manipulating the backing file: No such file or directory "
		       "(os error 2) none");
}

/* "other" becomes an overlay, and then "own" is to be one over it. */
Test(blk_overlay_file, an_overlay_is_no_base)
{
	struct blk_file file;

	expect_own(&file);
	blk_file_close(&file);
	cr_assert_eq(rename("own", "other"), 0);
	make("own", 0);
	refuse("other", "Cannot make an overlay: The base is itself an overlay: make a plain disk "
			"of it first (squibctl overlay flatten)");
}

/* The disk has five clusters. */
Test(blk_overlay_file, a_map_with_clusters_behind_the_disk_is_damaged)
{
	struct blk_file file;
	struct error err;

	expect_own(&file);
	blk_file_close(&file);
	poke("own", OVERLAY_MAP_AT, "\x10", 1);
	expect_own(&file);
	blk_file_close(&file);
	poke("own", OVERLAY_MAP_AT, "\x30", 1);
	cr_assert_eq(open_own("base", false, &file, &err), 0, "%s", err.msg);
	cr_assert_eq(blk_overlay_use(file.overlay, file.fd, false, &err), -1);
	cr_assert_str_eq(err.msg, "The overlay is damaged: its map has clusters behind the end of "
				  "its disk");
	blk_file_close(&file);
}

Test(blk_overlay_file, bases_may_be_of_any_length)
{
	static const off_t lens[] = {0, 1, 511, 512, 4095, 4096, 65536, 196608};
	struct blk_file file;

	for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
		make("base", lens[i]);
		make("own", 0);
		expect_own(&file);
		cr_assert_eq(file.sectors, (uint64_t)lens[i] / 512);
		blk_file_close(&file);
		expect_own(&file);
		blk_file_close(&file);
	}
}

Test(blk_overlay_file, one_machine_has_it_or_several_that_only_read)
{
	static const struct {
		bool first, second, is_fine;
	} cases[] = {{false, false, false},
		     {false, true, false},
		     {true, false, false},
		     {true, true, true}};
	struct blk_file files[2];
	struct error err;

	expect_own(&files[0]);
	blk_file_close(&files[0]);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_assert_eq(open_own("base", cases[i].first, &files[0], &err), 0);
		cr_assert_eq(open_own("base", cases[i].second, &files[1], &err), 0);
		cr_assert_eq(overlay_lock(files[0].fd, "own", cases[i].first, 0, &err), 0);
		int result = overlay_lock(files[1].fd, "own", cases[i].second, 20, &err);

		cr_assert_eq(result == 0, cases[i].is_fine, "case %zu", i);
		cr_assert(cases[i].is_fine ||
			  strcmp(err.msg,
				 "The overlay own is in use: each machine needs one of its "
				 "own") == 0);
		blk_file_close(&files[0]);
		error_clear(&err);
		/* With the descriptor the lock is gone. */
		cr_assert_eq(overlay_lock(files[1].fd, "own", cases[i].second, 0, &err), 0);
		blk_file_close(&files[1]);
	}
}

Test(blk_overlay_file, bits_are_found_and_set)
{
	static const struct {
		uint64_t from, end;
	} cases[] = {{0, 1}, {0, 64}, {63, 65}, {5, 200}, {64, 128}, {127, 129}, {255, 256}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint64_t map[4] = {0};
		uint64_t from = cases[i].from;
		uint64_t end = cases[i].end;

		overlay_set(map, from, end);
		for (uint64_t at = 0; at < 256; at++) {
			bool is_set = at >= from && at < end;

			cr_assert_eq(map[at / 64] >> at % 64 & 1, is_set);
			cr_assert_eq(overlay_find(map, at, 256, !is_set), is_set ? end
									  : at < from
										  ? from
										  : UINT64_C(256));
			cr_assert_eq(overlay_find(map, at, at + 1, is_set), at);
			cr_assert_eq(overlay_find(map, at, at, true), at);
		}
	}
}
