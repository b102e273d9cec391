/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/schema.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/schema.h"

enum colour {
	RED,
	GREEN,
	BLUE
};

struct thing {
	uint8_t small;
	uint32_t middle;
	uint64_t large;
	uint64_t size;
	bool is_on;
	char *name;
	enum colour colour;
};

static const char *const colour_names[] = {"Red", "Green", "Blue", NULL};

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct thing, small, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct thing, middle, SCHEMA_OPTIONAL),
	SCHEMA_FIELD(struct thing, large, SCHEMA_OPTIONAL),
	SCHEMA_USIZE_FIELD_AS("size", struct thing, size, SCHEMA_OPTIONAL),
	SCHEMA_FIELD(struct thing, is_on, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct thing, name, SCHEMA_OPTIONAL),
	SCHEMA_ENUM_FIELD(struct thing, colour, SCHEMA_DEFAULTED, colour_names),
};

static const struct schema schema = SCHEMA("Thing", struct thing, fields);

static int decode(const struct schema *table, const char *text, void *out, uint64_t *present,
		  struct error *err)
{
	struct json_doc doc;

	cr_assert_eq(json_doc_load(text, strlen(text), "Bad", &doc, err), 0, "%s", err->msg);

	struct json_value root = json_doc_root(&doc);
	int result = schema_decode(table, &root, out, present, err);

	json_doc_free(&doc);
	return result;
}

Test(schema, every_type_lands_in_its_member)
{
	struct thing thing = {0};
	struct error err = {0};
	uint64_t present;

	cr_assert_eq(
		decode(&schema,
		       "{\"colour\":\"Blue\",\"small\":255,\"middle\":4294967295,"
		       "\"large\":18446744073709551615,\"size\":9223372036854775808,\"is_on\":true,"
		       "\"name\":\"x\\u00e9\"}",
		       &thing, &present, &err),
		0, "%s", err.msg);
	cr_expect_eq(thing.small, 255);
	cr_expect_eq(thing.middle, UINT32_MAX);
	cr_expect_eq(thing.large, UINT64_MAX);
	cr_expect_eq(thing.size, UINT64_C(1) << 63);
	cr_expect(thing.is_on);
	cr_expect_str_eq(thing.name, "x\xc3\xa9");
	cr_expect_eq(thing.colour, BLUE);
	cr_expect_eq(present, 0x7f);
	schema_free(&schema, &thing);
	cr_expect_null(thing.name);
}

Test(schema, absent_and_null_fields_keep_what_is_there)
{
	struct thing thing = {.middle = 5, .is_on = true, .name = strdup("old"), .colour = GREEN};
	struct error err = {0};
	uint64_t present;

	cr_assert_eq(decode(&schema, "{\"small\":1,\"middle\":null,\"name\":null}", &thing,
			    &present, &err),
		     0, "%s", err.msg);
	cr_expect_eq(thing.middle, 5);
	cr_expect(thing.is_on);
	cr_expect_str_eq(thing.name, "old");
	cr_expect_eq(thing.colour, GREEN);
	cr_expect_eq(present, 1);
	schema_free(&schema, &thing);
}

Test(schema, a_new_string_replaces_the_old_one)
{
	struct thing thing = {.name = strdup("old")};
	struct error err = {0};
	uint64_t present;

	cr_assert_eq(decode(&schema, "{\"small\":1,\"name\":\"new\"}", &thing, &present, &err), 0);
	cr_expect_str_eq(thing.name, "new");
	schema_free(&schema, &thing);
}

#define FIELDS "`small`, `middle`, `large`, `size`, `is_on`, `name`, `colour`"

Test(schema, faults_have_serdes_words)
{
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"{\"is_on\": true}   ", "Bad: missing field `small` at line 1 column 15"},
		{"\n{\n}\n", "Bad: missing field `small` at line 3 column 1"},
		{"{\"small\":1,\"x\" : 2}",
		 "Bad: unknown field `x`, expected one of " FIELDS " at line 1 column 15"},
		{"{\"a\\nb\":2}",
		 "Bad: unknown field `a\\nb`, expected one of " FIELDS " at line 1 column 7"},
		{"{\"small\":\"-2\"}",
		 "Bad: invalid type: string \"-2\", expected u8 at line 1 column 13"},
		{"{\"small\": 300}",
		 "Bad: invalid value: integer `300`, expected u8 at line 1 column 13"},
		{"{\"small\": -1 }",
		 "Bad: invalid value: integer `-1`, expected u8 at line 1 column 12"},
		{"{\"small\": 1.5}",
		 "Bad: invalid type: floating point `1.5`, expected u8 at line 1 column 13"},
		{"{\"small\": 1e2}",
		 "Bad: invalid type: floating point `100.0`, expected u8 at line 1 column 13"},
		{"{\"small\": null}", "Bad: invalid type: null, expected u8 at line 1 column 14"},
		{"{\"small\": [1]}",
		 "Bad: invalid type: sequence, expected u8 at line 1 column 10"},
		{"{\"small\": {}}", "Bad: invalid type: map, expected u8 at line 1 column 10"},
		{"{\"middle\": 4294967296}",
		 "Bad: invalid value: integer `4294967296`, expected u32 at line 1 column 21"},
		{"{\"large\": -1}",
		 "Bad: invalid value: integer `-1`, expected u64 at line 1 column 12"},
		{"{\"size\": true}",
		 "Bad: invalid type: boolean `true`, expected usize at line 1 column 13"},
		{"{\"is_on\": 1}",
		 "Bad: invalid type: integer `1`, expected a boolean at line 1 column 11"},
		{"{\"is_on\": null}",
		 "Bad: invalid type: null, expected a boolean at line 1 column 14"},
		{"{\"name\": false}",
		 "Bad: invalid type: boolean `false`, expected a string at line 1 column 14"},
		{"{\"colour\": \"red\" , \"small\": 1}",
		 "Bad: unknown variant `red`, expected one of `Red`, `Green`, `Blue` at line 1 "
		 "column 16"},
		{"{\"colour\": 10}", "Bad: expected value at line 1 column 12"},
		{"{\"colour\": null}", "Bad: expected value at line 1 column 12"},
		{"[]", "Bad: invalid type: sequence, expected struct Thing at line 1 column 0"},
		{"5", "Bad: invalid type: integer `5`, expected struct Thing at line 1 column 1"},
		{"{\"is_on\": 1, \"small\": 300, \"x\": 1}",
		 "Bad: invalid type: integer `1`, expected a boolean at line 1 column 11"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct thing thing = {0};
		struct error err = {0};
		uint64_t present;

		cr_expect_eq(decode(&schema, cases[i].text, &thing, &present, &err), -1, "%s",
			     cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg, "%s: %s", cases[i].text, err.msg);
		cr_expect_eq(err.kind, ERR_BAD_REQUEST);
		schema_free(&schema, &thing);
	}
}

Test(schema, lists_of_one_and_two_names_read_as_serde_writes_them)
{
	const struct schema one = {.name = "One", .fields = fields, .count = 1};
	const struct schema two = {.name = "Two", .fields = fields, .count = 2};
	struct thing thing = {0};
	uint64_t present;
	struct error err = {0};

	cr_expect_eq(decode(&one, "{\"x\":1}", &thing, &present, &err), -1);
	cr_expect_str_eq(err.msg, "Bad: unknown field `x`, expected `small` at line 1 column 4");
	error_clear(&err);
	cr_expect_eq(decode(&two, "{\"x\":1}", &thing, &present, &err), -1);
	cr_expect_str_eq(err.msg,
			 "Bad: unknown field `x`, expected `small` or `middle` at line 1 column 4");
}

Test(schema, strings_that_were_read_before_a_fault_are_freed_by_schema_free)
{
	struct thing thing = {0};
	struct error err = {0};
	uint64_t present;

	cr_expect_eq(decode(&schema, "{\"name\":\"kept\",\"small\":-1}", &thing, &present, &err),
		     -1);
	cr_expect_str_eq(thing.name, "kept");
	schema_free(&schema, &thing);
	cr_expect_null(thing.name);
}

/* --- Objects and lists within --- */

struct inner {
	uint16_t size;
	char *text;
};

struct outer {
	struct inner inner;
	bool has_inner;
	struct schema_list strings;
	struct schema_list inners;
	char *map;
	uint64_t more;
};

static const struct schema_field inner_fields[] = {
	SCHEMA_FIELD(struct inner, size, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct inner, text, SCHEMA_OPTIONAL),
};

static const struct schema inner_schema = {
	.name = "Inner",
	.fields = inner_fields,
	.count = ARRAY_COUNT(inner_fields),
	.size = sizeof(struct inner),
	.is_open = true,
};

static const struct schema_field outer_fields[] = {
	SCHEMA_OBJECT_FIELD(struct outer, inner, SCHEMA_OPTIONAL, &inner_schema),
	SCHEMA_LIST_FIELD(struct outer, strings, SCHEMA_DEFAULTED, NULL),
	SCHEMA_LIST_FIELD(struct outer, inners, SCHEMA_REQUIRED, &inner_schema),
	SCHEMA_STRING_MAP_FIELD(struct outer, map, SCHEMA_OPTIONAL),
	SCHEMA_FIELD_AS("a-number", struct outer, more, SCHEMA_OPTIONAL),
};

static const struct schema outer_schema = SCHEMA("Outer", struct outer, outer_fields);

#define FULL                                                                                       \
	"{\"inner\":{\"size\":65535,\"text\":\"t\"},\"strings\":[\"a\",\"\"],"                     \
	"\"inners\":[{\"size\":1,\"text\":null},{\"size\":2,\"text\":\"u\"}],"                     \
	"\"map\":{\"k\":\"v\",\"l\":\"\"},\"a-number\":7}"

static char *encode(const struct schema *table, const void *in, uint64_t shown)
{
	json_t *object = schema_encode(table, in, shown);
	char *text = json_dumps(object, JSON_COMPACT);

	cr_assert_not_null(text);
	json_decref(object);
	return text;
}

Test(schema, objects_and_lists_land_in_their_members)
{
	struct outer outer = {0};
	struct error err = {0};
	uint64_t present;

	cr_assert_eq(decode(&outer_schema, FULL, &outer, &present, &err), 0, "%s", err.msg);
	cr_expect(outer.has_inner);
	cr_expect_eq(outer.inner.size, UINT16_MAX);
	cr_expect_str_eq(outer.inner.text, "t");
	cr_assert_eq(outer.strings.count, 2);
	cr_expect_str_eq(((char **)outer.strings.items)[0], "a");
	cr_expect_str_eq(((char **)outer.strings.items)[1], "");
	cr_assert_eq(outer.inners.count, 2);
	cr_expect_eq(((struct inner *)outer.inners.items)[1].size, 2);
	cr_expect_str_eq(((struct inner *)outer.inners.items)[1].text, "u");
	cr_expect_str_eq(outer.map, "{\"k\":\"v\",\"l\":\"\"}");
	cr_expect_eq(outer.more, 7);
	cr_expect_eq(present, 0x1f);

	/* A list is replaced, not appended to. */
	cr_assert_eq(decode(&outer_schema, "{\"inners\":[],\"strings\":[\"z\"]}", &outer, &present,
			    &err),
		     0, "%s", err.msg);
	cr_expect_eq(outer.inners.count, 0);
	cr_expect_eq(outer.strings.count, 1);
	schema_free(&outer_schema, &outer);
	cr_expect_null(outer.inner.text);
	cr_expect_null(outer.strings.items);
	cr_expect_eq(outer.strings.count, 0);
}

Test(schema, what_was_read_is_written_alike)
{
	struct outer outer = {0};
	struct error err = {0};
	uint64_t present;

	cr_assert_eq(decode(&outer_schema, FULL, &outer, &present, &err), 0, "%s", err.msg);

	char *text = encode(&outer_schema, &outer, SCHEMA_ALL);

	cr_expect_str_eq(text, FULL, "%s", text);
	free(text);
	schema_free(&outer_schema, &outer);
}

Test(schema, what_is_not_there_is_null_or_left_out)
{
	struct thing thing = {.colour = BLUE};
	struct outer outer = {0};
	char *text = encode(&schema, &thing, SCHEMA_ALL);

	cr_expect_str_eq(text,
			 "{\"small\":0,\"middle\":null,\"large\":null,\"size\":null,"
			 "\"is_on\":false,\"name\":null,\"colour\":\"Blue\"}",
			 "%s", text);
	free(text);
	text = encode(&schema, &thing, 1u << 0 | 1u << 4);
	cr_expect_str_eq(text, "{\"small\":0,\"is_on\":false}", "%s", text);
	free(text);
	text = encode(&outer_schema, &outer, SCHEMA_ALL);
	cr_expect_str_eq(text,
			 "{\"inner\":null,\"strings\":[],\"inners\":[],\"map\":null,"
			 "\"a-number\":null}",
			 "%s", text);
	free(text);
}

Test(schema, an_open_table_passes_over_unknown_fields)
{
	struct inner inner = {0};
	struct error err = {0};
	uint64_t present;

	cr_assert_eq(
		decode(&inner_schema, "{\"x\":[{}],\"size\":1,\"y\":null}", &inner, &present, &err),
		0, "%s", err.msg);
	cr_expect_eq(present, 1);
}

Test(schema, a_patch_needs_no_field_and_takes_null_for_absent)
{
	struct schema patch = schema;
	struct thing thing = {.small = 9, .is_on = true, .colour = GREEN};
	struct error err = {0};
	uint64_t present;

	patch.is_patch = true;
	cr_assert_eq(decode(&patch, "{}", &thing, &present, &err), 0, "%s", err.msg);
	cr_expect_eq(present, 0);
	cr_assert_eq(decode(&patch, "{\"small\":null,\"is_on\":null,\"colour\":\"Red\"}", &thing,
			    &present, &err),
		     0, "%s", err.msg);
	cr_expect_eq(present, 1u << 6);
	cr_expect_eq(thing.small, 9);
	cr_expect(thing.is_on);
	cr_expect_eq(thing.colour, RED);
}

Test(schema, faults_within_are_told_at_their_place)
{
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"{\"inner\":{\"text\":\"t\"},\"inners\":[]}",
		 "Bad: missing field `size` at line 1 column 21"},
		{"{\"inner\":[]}",
		 "Bad: invalid type: sequence, expected struct Inner at line 1 column 9"},
		{"{\"inner\":{\"size\":65536}}",
		 "Bad: invalid value: integer `65536`, expected u16 at line 1 column 22"},
		{"{\"strings\":{}}",
		 "Bad: invalid type: map, expected a sequence at line 1 column 11"},
		{"{\"strings\":null}",
		 "Bad: invalid type: null, expected a sequence at line 1 column 15"},
		{"{\"strings\": [ \"a\" , 1 ]}",
		 "Bad: invalid type: integer `1`, expected a string at line 1 column 21"},
		{"{\"inners\":[\n{\"size\":1,\"text\":\"kept\"},{\"text\":\"lost\"}]}",
		 "Bad: missing field `size` at line 2 column 40"},
		{"{\"inners\":[{\"size\":1},5]}",
		 "Bad: invalid type: integer `5`, expected struct Inner at line 1 column 23"},
		{"{\"map\":[]}", "Bad: invalid type: sequence, expected a map at line 1 column 7"},
		{"{\"map\":{\"a\":\"b\",\"c\":1}}",
		 "Bad: invalid type: integer `1`, expected a string at line 1 column 21"},
		{"{}", "Bad: missing field `inners` at line 1 column 2"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct outer outer = {0};
		struct error err = {0};
		uint64_t present;

		cr_expect_eq(decode(&outer_schema, cases[i].text, &outer, &present, &err), -1, "%s",
			     cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg, "%s: %s", cases[i].text, err.msg);
		schema_free(&outer_schema, &outer);
	}
}

Test(schema, a_full_stop_of_the_documents_fault_ends_the_sentence)
{
	struct json_doc doc;
	struct error err = {0};

	cr_expect_eq(json_doc_load("x", 1, "Bad body.", &doc, &err), -1);
	cr_expect_str_eq(err.msg, "Bad body: expected value at line 1 column 1.", "%s", err.msg);
}

Test(schema, a_long_value_leaves_room_for_the_rest_of_the_sentence)
{
	char text[700];
	struct thing thing = {0};
	struct error err = {0};
	uint64_t present;

	memset(text, 'y', sizeof(text));
	memcpy(text, "{\"small\":\"", 10);
	memcpy(text + sizeof(text) - 3, "\"}", 3);
	cr_expect_eq(decode(&schema, text, &thing, &present, &err), -1);
	cr_expect_not_null(strstr(err.msg, "y\", expected u8 at line 1 column 698"), "%s", err.msg);
}
