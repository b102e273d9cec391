/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/codec.c, on the state of tests/lib/codec_sample.h. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/codec_sample.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"
#include "vmm/base/fd.h"

static const struct sample full = {
	.small = 7,
	.medium = 0x12345678,
	.large = UINT64_MAX,
	.negative = -2,
	.text = "a\"\n7",
	.bytes = {1, 2, 3, 4, 0xff},
	.count = 2,
	.items = {{256, true}, {16, false}},
	.newer = 9,
	.extra = 1,
};

/* The bytes of `full`: what is in a file stays as it is for ever. */
static const uint8_t golden[] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 3, 0, 0, 0, 3, 0,
				 '1', '.', '2',
				 /* 17: first */
				 'F', 'I', 'R', 'S', 1, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0,
				 /* 33 */
				 7, 0x78, 0x56, 0x34, 0x12,
				 /* 38 */
				 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
				 /* 46 */
				 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
				 /* 54 */
				 4, 0, 'a', '"', '\n', '7',
				 /* 60 */
				 1, 2, 3, 4, 0xff,
				 /* 65: items */
				 'I', 'T', 'E', 'M', 2, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0,
				 /* 81 */
				 2, 0, 0, 0, 0, 1, 1, 16, 0, 0, 9, 0, 0, 0,
				 /* 95: extra */
				 'X', 'T', 'R', 'A', 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};

enum {
	SECTIONS_LEN = sizeof(golden), /* without the CRC */
};

static size_t save(const struct sample *sample, uint8_t *bytes)
{
	struct sample copy = *sample;
	struct codec codec;
	struct error err = {0};
	size_t len = 0;

	codec_save(&codec, &sample_file, bytes, SAMPLE_FILE_LEN);
	sample_code(&codec, &copy);
	cr_assert(codec_finish(&codec, &len, &err) == 0, "%s", err.msg);
	return len;
}

static bool is_same(const struct sample *one, const struct sample *two)
{
	uint8_t bytes[2][SAMPLE_FILE_LEN];
	size_t len = save(one, bytes[0]);

	return len == save(two, bytes[1]) && memcmp(bytes[0], bytes[1], len) == 0;
}

/* Loads over what is in *sample. */
static int load(const uint8_t *bytes, size_t len, struct sample *sample, struct error *err)
{
	struct codec codec;

	codec_load(&codec, &sample_file, bytes, len);
	sample_code(&codec, sample);
	return codec_finish(&codec, NULL, err);
}

/* Gives a file that was changed the CRC of its bytes; returns its length. */
static size_t seal(uint8_t *bytes, size_t len)
{
	store_le64(bytes + len, crc64(bytes, len));
	return len + 8;
}

Test(codec, what_is_saved_is_loaded)
{
	uint8_t bytes[SAMPLE_FILE_LEN];
	struct sample loaded = {0};
	struct error err = {0};
	size_t len = save(&full, bytes);

	cr_assert(len == SECTIONS_LEN + 8 && memcmp(bytes, golden, SECTIONS_LEN) == 0);
	cr_assert(load(bytes, len, &loaded, &err) == 0, "%s", err.msg);
	cr_assert(is_same(&loaded, &full));
	struct codec codec;

	codec_load(&codec, &sample_file, bytes, len);
	cr_assert_str_eq(codec.writer, "1.2");
}

Test(codec, a_damaged_or_cut_file_is_refused_and_changes_nothing)
{
	uint8_t bytes[SAMPLE_FILE_LEN];
	const struct sample before = {.medium = 5};
	size_t len = save(&full, bytes);

	for (size_t i = 0; i < 2 * len; i++) {
		struct sample loaded = before;
		struct error err = {0};

		bytes[i % len] ^= i < len ? 0x10 : 0;
		int result = load(bytes, i < len ? len : i - len, &loaded, &err);

		bytes[i % len] ^= i < len ? 0x10 : 0;
		cr_expect(result == -1 && err.kind != ERR_NONE, "case %zu", i);
		cr_expect(is_same(&loaded, &before), "case %zu", i);
	}
}

Test(codec, what_no_writer_writes_is_refused_by_section_and_field)
{
	static const struct {
		size_t at;
		uint8_t value;
		enum error_kind kind;
		const char *sentence;
	} cases[] = {
		{7, 0x12, ERR_CORRUPT, "This is no state of this architecture: it begins with "},
		{8, 4, ERR_NOT_SUPPORTED,
		 "The state has format 4, and 3 is the newest that is known"},
		{12, 64, ERR_CORRUPT, "The state has a writer's version of 64 bytes"},
		{13, 1, ERR_CORRUPT, "The state has a writer's version of 259 bytes"},
		{17, 'f', ERR_CORRUPT, "Section first is missing"},
		{25, 33, ERR_CORRUPT, "Section first has 1 bytes more than its fields"},
		{25, 31, ERR_CORRUPT,
		 "Section first, field bytes: 1 bytes are missing at the section's end"},
		{25, 0, ERR_CORRUPT, "Section first, field small: 1 bytes are missing"},
		{25, 90, ERR_CORRUPT, "Section FIRS has 90 bytes, and the file only 79 more"},
		{32, 1, ERR_CORRUPT, "Section FIRS has 72057594037927968 bytes, and"},
		{54, 8, ERR_CORRUPT,
		 "Section first, field text: a text of 8 bytes, and at most 7 fit"},
		{55, 1, ERR_CORRUPT, "field text: a text of 260 bytes"},
		{56, 0, ERR_CORRUPT, "Section first, field text: a text with a byte of 0"},
		{81, 4, ERR_CORRUPT, "Section items, field list.count: 4 is more than 3"},
		{84, 1, ERR_CORRUPT, "Section items, field list.count: 16777218 is more than 3"},
		{87, 2, ERR_CORRUPT,
		 "Section items, field list.items[0].is_ready: 2 is neither 0 nor 1"},
		{95, 'x', ERR_NONE, ""},
		{101, 0, ERR_NONE, ""},
		{73, 13, ERR_CORRUPT,
		 "Section items, field newer: 1 bytes are missing at the section"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t bytes[SAMPLE_FILE_LEN];
		struct sample loaded = {0};
		struct error err = {0};

		memcpy(bytes, golden, SECTIONS_LEN);
		bytes[cases[i].at] = cases[i].value;
		(void)load(bytes, seal(bytes, SECTIONS_LEN), &loaded, &err);
		cr_expect(err.kind == cases[i].kind, "case %zu: %s", i, err.msg);
		cr_expect(strstr(err.msg, cases[i].sentence) != NULL, "case %zu: %s", i, err.msg);
		cr_expect(loaded.count <= SAMPLE_ITEMS, "case %zu", i);
	}
}

Test(codec, the_first_error_stays_and_nothing_is_loaded_after_it)
{
	uint8_t bytes[SAMPLE_FILE_LEN];
	struct sample loaded = {.count = 1, .newer = 4, .extra = 3};
	struct error err = {0};

	memcpy(bytes, golden, SECTIONS_LEN);
	bytes[56] = 0; /* of the text */
	bytes[81] = 99;
	cr_assert(load(bytes, seal(bytes, SECTIONS_LEN), &loaded, &err) == -1);
	cr_assert(strstr(err.msg, "field text") != NULL, "%s", err.msg);
	cr_assert(loaded.large == UINT64_MAX && loaded.text[0] == '\0' && loaded.bytes[0] == 0);
	cr_assert(loaded.count == 1 && loaded.newer == 4 && loaded.extra == 3);
}

/* Versions 1 and 3 of the section "items" are read by a program that knows version 2. */
Test(codec, older_files_leave_defaults_and_newer_ones_are_skipped)
{
	static const struct {
		uint8_t version;
		uint8_t len;
		uint32_t newer;
	} cases[] = {{1, 10, 77}, {2, 14, 9}, {3, 14, 9}, {3, 18, 9}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t bytes[SAMPLE_FILE_LEN];
		struct sample loaded = {.newer = 77};
		struct error err = {0};
		size_t len = 81U + cases[i].len;

		memset(bytes, 0xaa, sizeof(bytes));
		memcpy(bytes, golden, 95);
		bytes[69] = cases[i].version;
		bytes[73] = cases[i].len;
		cr_expect(load(bytes, seal(bytes, len), &loaded, &err) == 0, "case %zu: %s", i,
			  err.msg);
		cr_expect(loaded.newer == cases[i].newer && loaded.items[0].size == 256, "case %zu",
			  i);
	}
}

/* Sections of one byte that the reader does not know, before and behind those that it does. */
Test(codec, unknown_sections_are_skipped_if_they_are_optional)
{
	static const struct {
		size_t at;
		bool is_optional;
		enum error_kind kind;
		const char *sentence;
	} cases[] = {
		{17, true, ERR_NONE, ""},
		{65, true, ERR_NONE, ""},
		{95, true, ERR_NONE, ""},
		{SECTIONS_LEN, true, ERR_NONE, ""},
		{17, false, ERR_CORRUPT, "Section first is missing"},
		{SECTIONS_LEN, false, ERR_NOT_SUPPORTED,
		 "Section N?W! is unknown, and the state is not whole without it"},
	};
	uint8_t unknown[] = {'N', 1, 'W', '!', 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 42};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t bytes[SAMPLE_FILE_LEN];
		struct sample loaded = {0};
		struct error err = {0};
		size_t at = cases[i].at;

		unknown[6] = cases[i].is_optional;
		memcpy(bytes, golden, at);
		memcpy(bytes + at, unknown, sizeof(unknown));
		memcpy(bytes + at + sizeof(unknown), golden + at, SECTIONS_LEN - at);
		(void)load(bytes, seal(bytes, SECTIONS_LEN + sizeof(unknown)), &loaded, &err);
		cr_expect(err.kind == cases[i].kind, "case %zu: %s", i, err.msg);
		cr_expect_str_eq(err.msg, cases[i].sentence, "case %zu: %s", i, err.msg);
		cr_expect(err.kind != ERR_NONE || is_same(&loaded, &full));
	}
}

Test(codec, an_optional_section_may_be_missing_and_bytes_that_are_none_may_not_be_there)
{
	uint8_t bytes[SAMPLE_FILE_LEN];
	struct sample loaded = {.extra = 5};
	struct error err = {0};

	memcpy(bytes, golden, SECTIONS_LEN);
	cr_assert(load(bytes, seal(bytes, 95), &loaded, &err) == 0, "%s", err.msg);
	cr_assert(loaded.extra == 5 && loaded.newer == 9);
	cr_assert(load(bytes, seal(bytes, 65), &loaded, &err) == -1);
	cr_assert_str_eq(err.msg, "Section items is missing");
	error_clear(&err);
	memcpy(bytes, golden, SECTIONS_LEN);
	cr_assert(load(bytes, seal(bytes, 95 + 15), &loaded, &err) == -1);
	cr_assert_str_eq(err.msg, "15 bytes behind the last section are no section");
}

Test(codec, a_buffer_that_is_too_small_is_not_overrun)
{
	for (size_t cap = 8; cap < SECTIONS_LEN + 8; cap++) {
		uint8_t bytes[SAMPLE_FILE_LEN];
		struct sample sample = full;
		struct codec codec;
		struct error err = {0};

		memset(bytes, 0xaa, sizeof(bytes));
		codec_save(&codec, &sample_file, bytes, cap);
		sample_code(&codec, &sample);
		cr_expect(codec_finish(&codec, NULL, &err) == -1 && err.kind == ERR_TOO_LARGE);
		cr_expect(bytes[cap] == 0xaa, "%zu", cap);
	}
}

Test(codec, a_file_has_a_greatest_length)
{
	const size_t len = CODEC_FILE_MAX + 1;
	AUTO_FREE uint8_t *bytes = calloc(1, len);
	struct codec codec;
	struct sample loaded = {0};
	struct error err = {0};

	cr_assert(load(bytes, len, &loaded, &err) == -1);
	cr_assert_str_eq(err.msg, "The state has 10485761 bytes, and at most 10485760 are read");
	error_clear(&err);
	codec_save(&codec, &sample_file, bytes, len);
	cr_assert(codec_section_begin(&codec, &sample_first));
	codec_bytes(&codec, "bytes", bytes + 1, CODEC_FILE_MAX - 17 - 16 - 8 + 1);
	codec_section_end(&codec);
	cr_assert(codec_finish(&codec, NULL, &err) == -1);
	cr_assert_str_eq(err.msg, "The state needs more than 10485760 bytes");
}

Test(codec, a_dump_is_readable)
{
	static const char expected[] = "section first, version 1\n"
				       "  small: 7\n"
				       "  medium: 305419896 (0x12345678)\n"
				       "  large: 18446744073709551615 (0xffffffffffffffff)\n"
				       "  negative: -2\n"
				       "  text: \"a\\x22\\x0a7\"\n"
				       "  bytes: 5 bytes\n"
				       "    01 02 03 04 ff\n"
				       "section items, version 2\n"
				       "  list:\n"
				       "    count: 2\n"
				       "    items[0]:\n"
				       "      size: 256 (0x100)\n"
				       "      is_ready: true\n"
				       "    items[1]:\n"
				       "      size: 16 (0x10)\n"
				       "      is_ready: false\n"
				       "  newer: 9\n"
				       "section extra, version 1\n"
				       "  extra: 1\n";
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);
	struct sample sample = full;
	struct codec codec;
	struct error err = {0};

	codec_dump(&codec, stream);
	sample_code(&codec, &sample);
	cr_assert(codec_finish(&codec, NULL, &err) == 0);
	fclose(stream);
	cr_assert_str_eq(text, expected, "%s", text);
}

/* Dumps as JSON; the caller frees the text. */
static char *dump_json(const struct sample *sample)
{
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);
	struct sample copy = *sample;
	struct codec codec;
	struct error err = {0};

	codec_dump_json(&codec, 3, stream);
	sample_code(&codec, &copy);
	cr_assert(codec_finish(&codec, NULL, &err) == 0, "%s", err.msg);
	fclose(stream);
	return text;
}

Test(codec, a_dump_as_json_has_the_same)
{
	static const char expected[] =
		"{\"format\":3,\"sections\":["
		"{\"section\":\"first\",\"version\":1,\"fields\":{\"small\":7,\"medium\":305419896,"
		"\"large\":\"0xffffffffffffffff\",\"negative\":-2,\"text\":\"a\\\"\\n7\","
		"\"bytes\":\"01020304ff\"}},"
		"{\"section\":\"items\",\"version\":2,\"fields\":{\"list\":{\"count\":2,\"items\":["
		"{\"size\":256,\"is_ready\":true},{\"size\":16,\"is_ready\":false}]},"
		"\"newer\":9}},"
		"{\"section\":\"extra\",\"version\":1,\"fields\":{\"extra\":1}}]}";
	AUTO_FREE char *text = dump_json(&full);
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	AUTO_FREE char *compact = json_dumps(json, JSON_COMPACT);

	cr_assert_not_null(json, "%s", text);
	cr_assert_str_eq(compact, expected, "%s", compact);
	json_decref(json);
}

/* [RFC 8259 6, 8.1] What a number or text of JSON can't be. */
Test(codec, a_dump_is_json_whatever_the_values)
{
	static const struct {
		uint64_t large;
		int64_t negative;
		const char *text;
		const char *expected;
	} cases[] = {
		{UINT64_C(1) << 53, -(INT64_C(1) << 53), "",
		 "\"large\":9007199254740992,\"negative\":-9007199254740992,\"text\":\"\""},
		{(UINT64_C(1) << 53) + 1, INT64_MIN, "\xc3\xa4",
		 "\"large\":\"0x20000000000001\",\"negative\":\"-9223372036854775808\","
		 "\"text\":\"\xc3\xa4\""},
		{0, 0, "a\xff\xc3", "\"text\":\"a\\\\xff\\\\xc3\""},
		{0, 0, "\x1b[1m", "\"text\":\"\\u001B[1m\""},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct sample sample = {.large = cases[i].large, .negative = cases[i].negative};

		strcpy(sample.text, cases[i].text);
		AUTO_FREE char *text = dump_json(&sample);
		json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		AUTO_FREE char *compact = json_dumps(json, JSON_COMPACT);

		cr_assert_not_null(json, "case %zu: %s", i, text);
		cr_expect_not_null(strstr(compact, cases[i].expected), "case %zu: %s", i, compact);
		json_decref(json);
	}
}

/* The same bytes, but for who reads a dump. */
Test(codec, a_blob_of_text_is_dumped_as_text)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('B', 'L', 'O', 'B'), .version = 1, .name = "blob"};
	char bytes[] = "{\"a\": \"\x1b\xff\"}";
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);
	struct codec codec;
	struct error err = {0};

	codec_dump(&codec, stream);
	cr_assert(codec_section_begin(&codec, &section));
	codec_blob_text(&codec, "text", bytes, strlen(bytes));
	codec_section_end(&codec);
	cr_assert(codec_finish(&codec, NULL, &err) == 0);
	fclose(stream);
	cr_assert_str_eq(text, "section blob, version 1\n  text: {\"a\": \"\\x1b\\xff\"}\n", "%s",
			 text);
}

/* A text's length is within its buffer, and beyond what the section has left. */
Test(codec, a_text_ends_with_its_section)
{
	uint8_t bytes[SAMPLE_FILE_LEN];
	struct sample loaded = {0};
	struct error err = {0};

	memcpy(bytes, golden, SECTIONS_LEN);
	bytes[25] = 27; /* of section first: 4 bytes behind the text's length */
	bytes[54] = 7;
	cr_assert(load(bytes, seal(bytes, SECTIONS_LEN), &loaded, &err) == -1);
	cr_assert_str_eq(err.msg,
			 "Section first, field text: a text of 7 bytes, and at most 4 fit");
	cr_assert(loaded.text[0] == '\0');
}

Test(codec, a_section_without_fields_may_be_the_last)
{
	static const uint8_t empty[16] = {'N', 'O', 'N', 'E', 1, 0, 1};
	uint8_t bytes[SAMPLE_FILE_LEN];
	struct sample loaded = {0};
	struct error err = {0};

	memcpy(bytes, golden, SECTIONS_LEN);
	memcpy(bytes + SECTIONS_LEN, empty, sizeof(empty));
	cr_assert(load(bytes, seal(bytes, SECTIONS_LEN + sizeof(empty)), &loaded, &err) == 0, "%s",
		  err.msg);
}
