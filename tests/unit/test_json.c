/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/json.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/json.h"

#define ZEROES_10 "0000000000"
#define ZEROES_100                                                                                 \
	ZEROES_10 ZEROES_10 ZEROES_10 ZEROES_10 ZEROES_10 ZEROES_10 ZEROES_10 ZEROES_10 ZEROES_10  \
		ZEROES_10
#define ZEROES_309 ZEROES_100 ZEROES_100 ZEROES_100 "000000000"

static int load(const char *text, size_t len, struct json_doc *doc, struct error *err)
{
	return json_doc_load(text, len, "Bad", doc, err);
}

Test(json, faults_are_told_with_their_place)
{
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"", "Bad: EOF while parsing a value at line 1 column 0"},
		{"{\"a\":1", "Bad: EOF while parsing an object at line 1 column 6"},
		{"\"abc", "Bad: EOF while parsing a string at line 1 column 4"},
		{"{\"a\":1} x", "Bad: trailing characters at line 1 column 9"},
		{"{a:1}", "Bad: key must be a string at line 1 column 2"},
		{"{\"a\" 1}", "Bad: expected `:` at line 1 column 6"},
		{"{\"a\":1 2}", "Bad: expected `,` or `}` at line 1 column 8"},
		{"[1 2]", "Bad: expected `,` or `]` at line 1 column 4"},
		{"{\n  \"a\": nul\n}", "Bad: expected ident at line 3 column 0"},
		{"[01]", "Bad: invalid number at line 1 column 3"},
		{"[1e999]", "Bad: number out of range at line 1 column 6"},
		{"[1e999, 9223372036854775808]", "Bad: number out of range at line 1 column 6"},
		{"[9223372036854775808, 1e999]", "Bad: number out of range at line 1 column 27"},
		{"[1" ZEROES_309 "]", "Bad: number out of range at line 1 column 311"},
		{"[-1" ZEROES_309 "]", "Bad: number out of range at line 1 column 312"},
		{"[1" ZEROES_309 "0]", "Bad: number out of range at line 1 column 312"},
		{"[9223372036854775808 1]", "Bad: expected `,` or `]` at line 1 column 22"},
		{"[\"\\u0000\"]",
		 "Bad: a string must not contain the NUL character at line 1 column 9"},
		{"{\"\\u0000\":1}",
		 "Bad: a string must not contain the NUL character at line 1 column 9"},
		{"\"\xff\"", "Bad: invalid unicode code point at line 1 column 1"},
		{"[\"a\nb\"]", "Bad: control character (\\u0000-\\u001F) found while parsing a "
			       "string at line 2 column 0"},
		{"{", "Bad: EOF while parsing an object at line 1 column 1"},
		{"{\"a\"", "Bad: EOF while parsing an object at line 1 column 4"},
		{"{\"a\":", "Bad: EOF while parsing a value at line 1 column 5"},
		{"{\"a\":1,", "Bad: EOF while parsing a value at line 1 column 7"},
		{"{\"a\":1,}", "Bad: trailing comma at line 1 column 8"},
		{"{\"a\":1,b}", "Bad: key must be a string at line 1 column 8"},
		{"[", "Bad: EOF while parsing a list at line 1 column 1"},
		{"[1", "Bad: EOF while parsing a list at line 1 column 2"},
		{"[1,", "Bad: EOF while parsing a value at line 1 column 3"},
		{"[1,]", "Bad: trailing comma at line 1 column 4"},
		{"[{\"a\":[]},{\"b\":}]", "Bad: expected value at line 1 column 16"},
		{"[,]", "Bad: expected value at line 1 column 2"},
		{"tru", "Bad: EOF while parsing a value at line 1 column 3"},
		{"nulL", "Bad: expected ident at line 1 column 4"},
		{"-", "Bad: EOF while parsing a value at line 1 column 1"},
		{"-x", "Bad: invalid number at line 1 column 2"},
		{"[-01]", "Bad: invalid number at line 1 column 4"},
		{"1.", "Bad: EOF while parsing a value at line 1 column 2"},
		{"[1.]", "Bad: invalid number at line 1 column 4"},
		{"[1e+]", "Bad: invalid number at line 1 column 5"},
		{"[.5]", "Bad: expected value at line 1 column 2"},
		{"\"\\", "Bad: EOF while parsing a string at line 1 column 2"},
		{"\"\\x\"", "Bad: invalid escape at line 1 column 3"},
		{"\"\\u12", "Bad: EOF while parsing a string at line 1 column 5"},
		{"\"\\u12xx\"", "Bad: invalid escape at line 1 column 7"},
		{"\"\\udc00\"", "Bad: lone leading surrogate in hex escape at line 1 column 7"},
		{"\"\\ud800x\"", "Bad: unexpected end of hex escape at line 1 column 8"},
		{"\"\\ud800\\n\"", "Bad: unexpected end of hex escape at line 1 column 9"},
		{"\"\\ud800\\u0041\"",
		 "Bad: lone leading surrogate in hex escape at line 1 column 13"},
		{"{}}", "Bad: trailing characters at line 1 column 3"},
		{"{\"a\":1,\"a\":2}", "Bad: duplicate field `a` at line 1 column 10"},
		{"{\"a\":1,\"a\" :2}", "Bad: duplicate field `a` at line 1 column 11"},
		{"{\"b\":{\"quite_a_long_name\":1,\n\"quite_a_long_name\":2}}",
		 "Bad: duplicate field `quite_a_long_name` at line 2 column 19"},
		{"{\"a\\\"b\":1,\"a\\\"b\":2}",
		 "Bad: duplicate field `a\\\\\\\"b` at line 1 column 16"},
		{"{\"\":1,\"\":2}", "Bad: duplicate field `` at line 1 column 8"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct json_doc doc;
		struct error err = {0};

		cr_expect_eq(load(cases[i].text, strlen(cases[i].text), &doc, &err), -1, "case %zu",
			     i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
		cr_expect_null(doc.root);
		json_doc_free(&doc);
	}
}

Test(json, integers_have_64_bits_without_a_sign)
{
	static const struct {
		const char *text;
		bool is_u64;
		uint64_t number;
		double real;
	} cases[] = {
		{"0", true, 0, 0},
		{"9223372036854775807", true, INT64_MAX, 0},
		{"9223372036854775808", true, UINT64_C(1) << 63, 0},
		{"9999999999999999999", true, UINT64_C(9999999999999999999), 0},
		{"18446744073709551615", true, UINT64_MAX, 0},
		{"18446744073709551616", false, 0, 18446744073709551616.0},
		{"-9223372036854775809", false, 0, -9223372036854775809.0},
		{"100000000000000000000000000000000000000", false, 0, 1e38},
		{"-1", false, 0, -1},
		{"-0", false, 0, -0.0},
		{"1.0", false, 0, 1},
		{"1e3", false, 0, 1000},
		{"\"1\"", false, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct json_doc doc;
		struct error err = {0};
		uint64_t number;

		cr_assert_eq(load(cases[i].text, strlen(cases[i].text), &doc, &err), 0, "%s",
			     err.msg);
		struct json_value root = json_doc_root(&doc);

		cr_expect_eq(json_value_u64(&root, &number), cases[i].is_u64, "%s", cases[i].text);
		if (cases[i].is_u64) {
			cr_expect_eq(number, cases[i].number, "%s", cases[i].text);
		} else if (json_is_number(root.json)) {
			cr_expect_eq(json_value_real(&root), cases[i].real, "%s", cases[i].text);
		}
		json_doc_free(&doc);
	}
}

Test(json, what_was_loaded_is_written_again)
{
	static const char text[] =
		"{\"-1\":9223372036854775808,\"b\":[9223372036854775807,18446744073709551615,"
		"9999999999999999999,0],\"c\":\"-5 9223372036854775808\",\"d\":-0.5}";
	struct json_doc doc;
	struct error err = {0};

	cr_assert_eq(load(text, strlen(text), &doc, &err), 0, "%s", err.msg);
	json_object_set_new(doc.root, "e", json_from_u64(UINT64_MAX - 1));
	json_object_set_new(doc.root, "f", json_from_u64(7));
	char *written = json_to_text(doc.root);

	cr_assert_eq(strncmp(written, text, strlen(text) - 1), 0, "%s", written);
	cr_expect_str_eq(written + strlen(text) - 1, ",\"e\":18446744073709551614,\"f\":7}", "%s",
			 written);
	free(written);
	json_doc_free(&doc);
}

Test(json, a_nul_byte_in_the_text_is_refused)
{
	static const char text[] = "{}\0{}";
	struct json_doc doc;
	struct error err = {0};

	cr_expect_eq(load(text, sizeof(text) - 1, &doc, &err), -1);
	cr_expect_str_eq(err.msg, "Bad: trailing characters at line 1 column 3", "%s", err.msg);
	json_doc_free(&doc);
}

Test(json, the_text_needs_no_terminator)
{
	/* Without slack after it, for AddressSanitizer. */
	static const char text[7] = {'{', '"', 'a', '"', ':', '1', '2'};
	struct json_doc doc;
	struct error err = {0};

	cr_expect_eq(load(text, sizeof(text), &doc, &err), -1);
	json_doc_free(&doc);
}

Test(json, depth_is_limited_but_brackets_in_strings_do_not_count)
{
	char text[2 * JSON_DEPTH_MAX + 8] = "";
	struct json_doc doc;
	struct error err = {0};

	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	cr_expect_eq(load(text, strlen(text), &doc, &err), 0, "%s", err.msg);
	json_doc_free(&doc);

	memset(text, '[', JSON_DEPTH_MAX + 1);
	cr_expect_eq(load(text, strlen(text), &doc, &err), -1);
	cr_expect_str_eq(err.msg, "Bad: recursion limit exceeded at line 1 column 128", "%s",
			 err.msg);
	json_doc_free(&doc);

	error_clear(&err);
	memset(text, '[', sizeof(text));
	memcpy(text, "\"\\\"", 3);
	text[sizeof(text) - 1] = '"';
	cr_expect_eq(load(text, sizeof(text), &doc, &err), 0, "%s", err.msg);
	json_doc_free(&doc);
}

Test(json, a_walk_knows_where_keys_and_values_are)
{
	static const char text[] =
		" { \"n\" : -1.5e3 , \"s\":\"}\\\"]\",\n\"o\": {\"x\": [1, {}]} ,"
		"\"a\":[],\"t\":true}";
	static const struct {
		const char *key;
		const char *value;
	} expected[] = {
		{"n", "-1.5e3"}, {"s", "\"}\\\"]\""}, {"o", "{\"x\": [1, {}]}"},
		{"a", "[]"},	 {"t", "true"},
	};
	struct json_doc doc;
	struct error err = {0};
	size_t i = 0;

	cr_assert_eq(load(text, strlen(text), &doc, &err), 0, "%s", err.msg);

	struct json_value root = json_doc_root(&doc);
	struct json_member member = json_member_first(&root);

	cr_expect_eq(root.start, 1);
	cr_expect_eq(json_value_end(&root), strlen(text));
	for (; member.key != NULL; member = json_member_next(&root, &member), i++) {
		size_t start = member.value.start;
		size_t len = json_value_end(&member.value) - start;

		cr_assert_lt(i, ARRAY_COUNT(expected));
		cr_expect_str_eq(member.key, expected[i].key);
		cr_expect_eq(text[member.key_end - 1], '"');
		cr_expect_eq(text[member.key_end - 2], *expected[i].key);
		cr_expect_eq(len, strlen(expected[i].value), "%s: %zu", member.key, len);
		cr_expect_eq(memcmp(text + start, expected[i].value, len), 0, "%s", member.key);
	}
	cr_expect_eq(i, ARRAY_COUNT(expected));
	json_doc_free(&doc);
}

Test(json, a_quote_escapes_and_never_cuts_a_character_apart)
{
	static const struct {
		const char *text;
		size_t len;
		const char *quoted;
	} cases[] = {
		{"plain", 64, "plain"},
		{"a\"b\\c", 64, "a\\\"b\\\\c"},
		{"\n\r\t\x1f\x7f", 64, "\\n\\r\\t\\u{1f}\\u{7f}"},
		{"abcdefgh", 10, "abc"},
		{"ab\xe2\x82\xac\xe2\x82\xac", 10, "ab\xe2\x82\xac"},
		{"abc\xe2\x82\xac", 10, "abc"},
		{"\xbf\xbf\xbf\xbf\xbf", 4, "\xbf\xbf\xbf"},
		{"x", 1, ""},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char buf[64];

		memset(buf, '#', sizeof(buf));
		json_quote(cases[i].text, strlen(cases[i].text), buf, cases[i].len);
		cr_expect_str_eq(buf, cases[i].quoted, "case %zu: %s", i, buf);
	}
}

/* jansson skips the NULs; numbers that it can't hold are put in other words for it. */
Test(json, what_follows_a_number_has_to_end_it)
{
	static const struct {
		const char *text;
		size_t len;
		const char *msg;
	} cases[] = {
		{"6\0", 2, "Bad: trailing characters at line 1 column 2"},
		{"[1\0,2]", 7, "Bad: expected `,` or `]` at line 1 column 3"},
		{"99999999999999999999a", 21, "Bad: trailing characters at line 1 column 21"},
		{"[18446744073709551615[", 22, "Bad: expected `,` or `]` at line 1 column 22"},
		{"{\"a\":1\0}", 9, "Bad: expected `,` or `}` at line 1 column 7"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct json_doc doc = {0};
		struct error err = {0};

		cr_expect(json_doc_load(cases[i].text, cases[i].len, "Bad", &doc, &err) < 0,
			  "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
		json_doc_free(&doc);
	}
}
