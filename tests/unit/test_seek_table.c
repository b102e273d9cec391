/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/snapshot_editor/seek_table.c and extents.c, and of tools/lib/progress.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tools/lib/progress.h"
#include "tools/snapshot_editor/seek_table.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"
#include "vmm/base/fd.h"

/* [zstd_seekable_compression_format.md] Two frames: of 3 and 5 bytes, which are of 256 and 7. */
static const uint8_t golden[] = {0x5e, 0x2a, 0x4d, 0x18, 25, 0, 0, 0,	 3,    0,    0,
				 0,    0,    1,	   0,	 0,  5, 0, 0,	 0,    7,    0,
				 0,    0,    2,	   0,	 0,  0, 0, 0xb1, 0xea, 0x92, 0x8f};

static int read_table(const uint8_t *bytes, size_t len, uint64_t file_len, struct seek_table *table,
		      struct error *err)
{
	size_t frame;

	if (seek_footer_read(bytes + len - SEEK_FOOTER_LEN, file_len, &frame, err) < 0) {
		return -1;
	}
	cr_assert_leq(frame, len);
	return seek_table_read(bytes + len - frame, frame, file_len, table, err);
}

Test(seek_table, it_is_as_the_format_has_it)
{
	struct seek_table table = {0};
	struct seek_table again = {0};
	struct error err = {0};
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len;

	cr_assert_eq(seek_table_add(&table, (struct seek_entry){3, 256}, &err), 0);
	cr_assert_eq(seek_table_add(&table, (struct seek_entry){5, 7}, &err), 0);
	cr_assert_eq(seek_table_write(&table, &bytes, &len, &err), 0);
	cr_assert(len == sizeof(golden) && memcmp(bytes, golden, len) == 0);
	cr_assert_eq(read_table(bytes, len, 8 + len, &again, &err), 0, "%s", err.msg);
	cr_expect(again.count == 2 && again.packed == 8 && again.plain == 263);
	cr_expect_eq(memcmp(again.entries, table.entries, 2 * sizeof(*table.entries)), 0);
	seek_table_destroy(&table);
	seek_table_destroy(&again);
}

Test(seek_table, a_table_with_checksums_is_read_too)
{
	static const uint8_t bytes[] = {0x5e, 0x2a, 0x4d, 0x18, 21,   0,    0,	  0,	3,   0,
					0,    0,    9,	  0,	0,    0,    1,	  2,	3,   4,
					1,    0,    0,	  0,	0x80, 0xb1, 0xea, 0x92, 0x8f};
	struct seek_table table = {0};
	struct error err = {0};

	cr_assert_eq(read_table(bytes, sizeof(bytes), 3 + sizeof(bytes), &table, &err), 0, "%s",
		     err.msg);
	cr_expect(table.count == 1 && table.packed == 3 && table.plain == 9);
	seek_table_destroy(&table);
}

Test(seek_table, what_is_none_is_refused)
{
	static const struct {
		size_t at;
		uint8_t value;
		const char *msg;
	} cases[] = {
		{0, 0, "Its seek table is no frame"},
		{4, 24, "Its seek table is no frame"},
		{8, 4, "Its seek table is of 9 bytes, and there are 8"},
		{27, 0xff, "Its seek table has 4278190082 frames, which do not fit into the file"},
		{24, 100, "Its seek table has 100 frames, which do not fit into the file"},
		{28, 4, "It does not end with a seek table"},
		{29, 0, "It does not end with a seek table"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t bytes[sizeof(golden)];
		struct seek_table table = {0};
		struct error err = {0};

		memcpy(bytes, golden, sizeof(golden));
		bytes[cases[i].at] = cases[i].value;
		cr_expect_eq(read_table(bytes, sizeof(bytes), 8 + sizeof(bytes), &table, &err), -1,
			     "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
		seek_table_destroy(&table);
	}
}

/* --- extents --- */

static struct extent items[] = {{4096, 8192}, {8192, 12288}, {20480, 20481}};
static const struct extents some = {items, 3, 8193};

Test(seek_table, extents_are_read_as_they_were_written)
{
	struct extents again = {0};
	struct error err = {0};
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len;

	cr_assert_eq(extents_write(&some, 20481, &bytes, &len, &err), 0);
	cr_assert_eq(len, EXTENTS_HEAD_LEN + 3 * 16 + EXTENTS_TAIL_LEN);
	cr_assert_eq(extents_read(bytes, len, 20481, &again, &err), 1, "%s", err.msg);
	cr_expect(again.count == 3 && again.bytes == 8193 &&
		  memcmp(again.items, items, sizeof(items)) == 0);
	extents_destroy(&again);
}

Test(seek_table, extents_that_no_file_has_are_refused)
{
	static const struct {
		size_t at;
		uint8_t value;
		int result;
	} cases[] = {
		{0, 0x54, 0},	/* another frame */
		{8, 'S', -1},	/* another text */
		{4, 55, -1},	/* another length */
		{16, 2, -1},	/* of another file */
		{25, 0x30, -1}, /* it ends before it begins */
		{41, 0x10, -1}, /* before the end of the one before it */
		{66, 1, -1},	/* behind the file */
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct extents extents = {0};
		struct error err = {0};
		AUTO_FREE uint8_t *bytes = NULL;
		size_t len;

		cr_assert_eq(extents_write(&some, 20481, &bytes, &len, &err), 0);
		bytes[cases[i].at] = cases[i].value;
		store_le64(bytes + len - 8, crc64(bytes + 8, len - 16));
		cr_expect_eq(extents_read(bytes, len, 20481, &extents, &err), cases[i].result,
			     "case %zu: %s", i, err.msg);
		extents_destroy(&extents);
	}
}

Test(seek_table, each_byte_of_the_extents_is_protected)
{
	AUTO_FREE uint8_t *bytes = NULL;
	struct error err = {0};
	size_t len;

	cr_assert_eq(extents_write(&some, 20481, &bytes, &len, &err), 0);
	for (size_t at = 4; at < len; at++) {
		struct extents extents = {0};
		struct error cause = {0};

		bytes[at] ^= 0x11;
		cr_expect_eq(extents_read(bytes, len, 20481, &extents, &cause), -1, "byte %zu", at);
		bytes[at] ^= 0x11;
		extents_destroy(&extents);
	}
}

Test(seek_table, the_extents_of_a_range_are_cut_to_it)
{
	size_t next = 0;
	struct extent part = {0};

	cr_expect_not(extents_next(&some, &next, (struct extent){0, 4096}, &part));
	cr_assert(extents_next(&some, &next, (struct extent){4096, 5000}, &part));
	cr_expect(part.start == 4096 && part.end == 5000);
	cr_assert(extents_next(&some, &next, (struct extent){5000, 20480}, &part));
	cr_expect(part.start == 5000 && part.end == 8192);
	cr_assert(extents_next(&some, &next, (struct extent){8192, 20480}, &part));
	cr_expect(part.start == 8192 && part.end == 12288);
	cr_expect_not(extents_next(&some, &next, (struct extent){12288, 20480}, &part));
	cr_assert(extents_next(&some, &next, (struct extent){12288, 30000}, &part));
	cr_expect(part.start == 20480 && part.end == 20481);
	cr_expect_not(extents_next(&some, &next, (struct extent){20481, 30000}, &part));
}

/* --- progress --- */

Test(progress, sizes_have_the_unit_that_fits)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 bytes"},
		{1023, "1023 bytes"},
		{1024, "1.0 KiB"},
		{1536, "1.5 KiB"},
		{MIB - 1, "1.0 MiB"},
		{MIB, "1.0 MiB"},
		{1023 * MIB, "1023.0 MiB"},
		{3 * GIB / 2, "1.5 GiB"},
		{UINT64_MAX, "16777216.0 TiB"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_expect_str_eq(size_text(cases[i].bytes).text, cases[i].text);
	}
}

Test(progress, a_line_shows_how_far_it_is)
{
	static const struct {
		uint64_t total;
		uint64_t done;
		const char *line;
	} cases[] = {
		{0, 5 * MIB, "saving: 5.0 MiB, 3 s"},
		{2 * GIB, 0, "saving [..............................]   0% of 2.0 GiB, 3 s"},
		{2 * GIB, GIB, "saving [###############...............]  50% of 2.0 GiB, 3 s"},
		{2 * GIB, 3 * GIB, "saving [##############################] 100% of 2.0 GiB, 3 s"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct progress progress = {.what = "saving", .total = cases[i].total};
		char line[PROGRESS_LINE_LEN];

		progress_line(&progress, cases[i].done, 3, line);
		cr_expect_str_eq(line, cases[i].line);
	}
}
