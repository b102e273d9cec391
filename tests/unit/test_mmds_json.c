/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/mmds/mmds_json.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/mmds/mmds_json.h"
#include "vmm/base/bytes.h"
#include "vmm/base/json.h"

/* A text read and written again, NUL-terminated; NULL after a failure. */
static char *again(const char *text, size_t len, struct error *err)
{
	json_t *document;
	char *written;

	if (mmds_json_load(text, len, "Bad", &document, err) < 0) {
		cr_expect_null(document);
		return NULL;
	}
	size_t count = mmds_json_print(document, NULL);

	written = malloc(count + 1);
	cr_assert_not_null(written);
	memset(written, '#', count + 1);
	cr_expect_eq(mmds_json_print(document, written), count);
	cr_expect_eq(written[count], '#', "written beyond the length");
	written[count] = '\0';
	json_decref(document);
	return written;
}

static void expect_again(const char *text, const char *expected)
{
	struct error err = {0};
	char *written = again(text, strlen(text), &err);

	cr_assert_not_null(written, "%s: %s", text, err.msg);
	cr_expect_str_eq(written, expected, "%s: %s", text, written);
	free(written);
}

Test(mmds_json, numbers_come_back_as_serde_json_writes_them)
{
	static const char *const cases[][2] = {
		{"0", "0"},
		{"-1", "-1"},
		{"9223372036854775807", "9223372036854775807"},
		{"9223372036854775808", "9223372036854775808"},
		{"18446744073709551615", "18446744073709551615"},
		{"-9223372036854775808", "-9223372036854775808"},
		{"18446744073709551616", "1.8446744073709552e+19"},
		{"-9223372036854775809", "-9.223372036854776e+18"},
		{"-0", "-0.0"},
		{"-0.0", "-0.0"},
		{"0.0", "0.0"},
		{"0e5", "0.0"},
		{"1.0", "1.0"},
		{"1e3", "1000.0"},
		{"1E+3", "1000.0"},
		{"1.50", "1.5"},
		{"-12.25", "-12.25"},
		{"0.1", "0.1"},
		{"0.30000000000000004", "0.30000000000000004"},
		{"123456789.125", "123456789.125"},
		{"1e15", "1000000000000000.0"},
		{"-9.5e15", "-9500000000000000.0"},
		{"1234567890123456.5", "1234567890123456.5"},
		{"1e16", "1e+16"},
		{"1.25e16", "1.25e+16"},
		{"1e100", "1e+100"},
		{"0.00001", "0.00001"},
		{"-0.0000125", "-0.0000125"},
		{"0.000001", "1e-6"},
		{"1.5e-7", "1.5e-7"},
		{"5e-324", "5e-324"},
		{"1e-400", "0.0"},
		{"1.7976931348623157e308", "1.7976931348623157e+308"},
		{"2.2250738585072014e-308", "2.2250738585072014e-308"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char in_array[64];
		char expected[64];

		expect_again(cases[i][0], cases[i][1]);
		(void)!snprintf(in_array, sizeof(in_array), "[ %s,%s\t]", cases[i][0], cases[i][0]);
		(void)!snprintf(expected, sizeof(expected), "[%s,%s]", cases[i][1], cases[i][1]);
		expect_again(in_array, expected);
	}
}

Test(mmds_json, strings_come_back_with_the_escapes_of_serde_json)
{
	static const char *const cases[][2] = {
		{"\"\"", "\"\""},
		{"\"n1\"", "\"n1\""},
		{"\"s\"", "\"s\""},
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
		{"\"\\u0001\\u001F\\u007f\"", "\"\\u0001\\u001f\x7f\""},
		{"\"a\\u0000b\"", "\"a\\u0000b\""},
		{"\"\\u00e9\\ud83d\\ude00\"", "\"\u00e9\U0001f600\""},
		{"{\"\\n\\u0041\":\"1\"}", "{\"\\nA\":\"1\"}"},
		{"[\"1\" , 1]", "[\"1\",1]"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		expect_again(cases[i][0], cases[i][1]);
	}
}

Test(mmds_json, objects_have_their_keys_in_order_and_the_last_of_duplicates)
{
	expect_again("{}", "{}");
	expect_again("[]", "[]");
	expect_again(" [ [ ] , { } , null , true , false ] ", "[[],{},null,true,false]");
	expect_again("{\"b\":1,\"a\":{\"d\":[{\"z\":0,\"y\":0}],\"c\":2}}",
		     "{\"a\":{\"c\":2,\"d\":[{\"y\":0,\"z\":0}]},\"b\":1}");
	expect_again("{\"a\":1,\"\u00e9\":2,\"B\":3,\"aa\":4,\"\":5}",
		     "{\"\":5,\"B\":3,\"a\":1,\"aa\":4,\"\u00e9\":2}");
	expect_again("{\"a\":1,\"b\":2,\"a\":{\"x\":3}}", "{\"a\":{\"x\":3},\"b\":2}");
	expect_again("{\"a\":1,\"\\u0061\":2}", "{\"a\":2}");
}

Test(mmds_json, faults_have_their_place_in_the_text_as_it_came)
{
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"", "Bad: EOF while parsing a value at line 1 column 0"},
		{"{\"a\":12345678901234567890123,\n\"b\" 1}",
		 "Bad: expected `:` at line 2 column 5"},
		{"[1.5,01]", "Bad: invalid number at line 1 column 7"},
		{"[-]", "Bad: invalid number at line 1 column 3"},
		{"[1.]", "Bad: invalid number at line 1 column 4"},
		{"[0x10]", "Bad: expected `,` or `]` at line 1 column 3"},
		{"[1, 1e400]", "Bad: number out of range at line 1 column 9"},
		{"[\"x\"] 2", "Bad: trailing characters at line 1 column 7"},
		{"{\"a\\u0000\":1}",
		 "Bad: a string must not contain the NUL character at line 1 column 10"},
		{"\"\\ud800\"", NULL},
		{"\"1", "Bad: EOF while parsing a string at line 1 column 2"},
		{"nul", "Bad: EOF while parsing a value at line 1 column 3"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};

		cr_expect_null(again(cases[i].text, strlen(cases[i].text), &err), "case %zu", i);
		cr_expect_eq(err.kind, ERR_BAD_REQUEST);
		if (cases[i].msg != NULL) {
			cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
		}
	}
}

Test(mmds_json, the_depth_is_bounded_on_the_way_in)
{
	char text[2 * (JSON_DEPTH_MAX + 1)];
	struct error err = {0};

	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	cr_expect_null(again(text, sizeof(text), &err));
	cr_expect_str_eq(err.msg, "Bad: recursion limit exceeded at line 1 column 128");

	char *written = again(text + 1, sizeof(text) - 2, &err);

	cr_assert_not_null(written);
	cr_expect_eq(strlen(written), 2 * JSON_DEPTH_MAX);
	free(written);
}

/* No byte behind the text is looked at: it is the last one of a block. */
Test(mmds_json, a_text_ends_where_its_length_says)
{
	char *block = malloc(2);
	struct error err = {0};
	char *written;

	cr_assert_not_null(block);
	memcpy(block, "15", 2);
	written = again(block, 2, &err);
	cr_expect_str_eq(written, "15");
	free(written);
	written = again(block, 1, &err);
	cr_expect_str_eq(written, "1");
	free(written);
	free(block);
}
