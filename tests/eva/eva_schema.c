/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table with a field of each type, lists of none or 2 items and objects in objects, and any JSON
 * against it: members of any names and types, in any order. What was read is written, and freed.
 *
 * Options: -eva-precision 2 -eva-domains cvalue -eva-split-return full
 * Options: -eva-unroll-recursive-calls 4
 * Options: -eva-slevel-function find_field:40,decode_member:60,find_name:10,decode_enum:20
 * Options: -eva-slevel-function decode_list:60,json_array_size:10,room_of:10,free_list:60
 * Options: -eva-slevel-function schema_encode:20,encode_field:20,encode_list:20,schema_free:20
 */
#include "tests/eva/jansson.h"

#include "tests/eva/error.h"
#include "tests/eva/printf.h"
#include "tests/eva/text.h"

#undef DBL_DECIMAL_DIG
#define DBL_DECIMAL_DIG 17 /* which Frama-C's float.h lacks */

#include <stdlib.h>
#include <string.h>

/* --- the library --- */

static char string_room[4];
static uint64_t string_items[2];
static uint64_t struct_items[4];

static char *any_copy(void)
{
	return any_bool() ? string_room : NULL;
}

/* Ends where the items do. */
static void *room_of(size_t count, size_t len)
{
	/*@ assert count == 2 && (len == 8 || len == 16); */
	memset(string_items, 0, sizeof(string_items));
	memset(struct_items, 0, sizeof(struct_items));
	return any_bool() ? NULL : len == 8 ? string_items : struct_items;
}

/* Of a number as printf writes it: the exponent is behind the digits. */
static char *find_exponent(char *digits)
{
	return digits + any_between(1, DBL_DECIMAL_DIG + 2);
}

static bool is_other(const char *one, const char *other)
{
	keep((unsigned char)one[0] + (unsigned char)other[0]);
	return any_bool();
}

#define calloc(count, len) room_of(count, len)
#define strdup(text) any_copy()
#define free(room) (void)(room)
#define strchr(digits, of) find_exponent(digits)
#define strcmp(one, other) is_other(one, other)
#define strtod(digits, end) (double)any_between(0, 9)
#define strtol(digits, end, base) (long)any_between(0, 616) - 308

void free_pointer(void *pointer)
{
	*(void **)pointer = NULL;
}

/* --- jansson --- */

const char *json_string_value(const json_t *string)
{
	keep((uint64_t)(string != NULL));
	return any_string();
}

size_t json_string_length(const json_t *string)
{
	keep((uint64_t)(string != NULL));
	return TEXT_LEN - 1;
}

size_t json_array_size(const json_t *array)
{
	keep((uint64_t)(array != NULL));
	return any_bool() ? 2 : 0;
}

json_t *json_object(void)
{
	return any_value();
}

json_t *json_array(void)
{
	return any_value();
}

json_t *json_null(void)
{
	return &value_room;
}

json_t *json_true(void)
{
	return &value_room;
}

json_t *json_false(void)
{
	return &value_room;
}

/* No text makes no value. */
json_t *json_string(const char *text)
{
	return text != NULL && text[0] != '\0' ? any_value() : NULL;
}

json_t *json_loads(const char *text, size_t flags, json_error_t *error)
{
	keep((unsigned char)text[0] + flags + (uint64_t)(error != NULL));
	return any_value();
}

int json_array_append_new(json_t *array, json_t *value)
{
	return array != NULL && value != NULL && any_bool() ? 0 : -1;
}

int json_object_set_new(json_t *object, const char *key, json_t *value)
{
	keep((unsigned char)key[0]);
	return object != NULL && value != NULL && any_bool() ? 0 : -1;
}

/* --- json.c --- */

static const struct json_doc any_doc = {.text = "{}", .len = 2, .fault = "fault"};

static struct json_value any_member_value(void)
{
	struct json_value value = {.doc = &any_doc, .json = &value_room};

	value_room.type = any_between(JSON_OBJECT, JSON_NULL);
	value.start = any_between(0, 1);
	return value;
}

struct json_member json_member_first(const struct json_value *object)
{
	struct json_member member = {.key = any_bool() ? any_string() : NULL};

	keep(object->start);
	member.value = any_member_value();
	return member;
}

struct json_member json_member_next(const struct json_value *object,
				    const struct json_member *member)
{
	keep(member->value.start);
	return json_member_first(object);
}

struct json_value json_element(const struct json_value *array, size_t i,
			       const struct json_value *before)
{
	keep(array->start + i + (before != NULL ? before->start : 0));
	return any_member_value();
}

bool json_value_u64(const struct json_value *value, uint64_t *number)
{
	keep(value->start);
	if (any_bool()) {
		*number = any_u64();
		return true;
	}
	return false;
}

double json_value_real(const struct json_value *value)
{
	keep(value->start);
	return 0.5;
}

json_t *json_from_u64(uint64_t number)
{
	keep(number);
	return any_value();
}

size_t json_value_end(const struct json_value *value)
{
	return value->start + 1;
}

int json_fault(struct error *err, const struct json_doc *doc)
{
	keep(doc->len + err->kind);
	return -1;
}

int json_error_at(struct error *err, const struct json_doc *doc, size_t offset)
{
	keep(doc->len + err->kind + offset);
	return -1;
}

int json_error_after_space(struct error *err, const struct json_doc *doc, size_t offset)
{
	return json_error_at(err, doc, offset);
}

const char *json_quote(const char *text, size_t text_len, char *buf, size_t len)
{
	keep((unsigned char)text[0] + text_len);
	fill(buf, len);
	buf[len - 1] = '\0';
	return buf;
}

#include "vmm/base/schema.c"

/* --- a table --- */

struct inner {
	char *text;
	uint64_t number;
};

struct outer {
	bool is_set;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	char *string;
	char *map;
	unsigned choice;
	bool has_inner;
	struct inner inner;
	struct schema_list strings;
	struct schema_list inners;
};

static const char *const choices[] = {"one", "two", "three", NULL};
static const char *const few_choices[] = {"two", NULL};

/* Without _Generic, which Frama-C does not know. */
#define ROW(object, member, type, need)                                                            \
	{                                                                                          \
#member, type, need, offsetof(object, member), {NULL }, 0, NULL                    \
	}

static const struct schema_field inner_fields[] = {
	ROW(struct inner, text, SCHEMA_STRING, SCHEMA_REQUIRED),
	ROW(struct inner, number, SCHEMA_USIZE, SCHEMA_DEFAULTED),
};
static const struct schema inner_schema = SCHEMA("Inner", struct inner, inner_fields);

static const struct schema_field fields[] = {
	ROW(struct outer, is_set, SCHEMA_BOOL, SCHEMA_REQUIRED),
	ROW(struct outer, u8, SCHEMA_U8, SCHEMA_DEFAULTED),
	ROW(struct outer, u16, SCHEMA_U16, SCHEMA_DEFAULTED),
	ROW(struct outer, u32, SCHEMA_U32, SCHEMA_OPTIONAL),
	ROW(struct outer, u64, SCHEMA_U64, SCHEMA_OPTIONAL),
	ROW(struct outer, string, SCHEMA_PATH, SCHEMA_OPTIONAL),
	ROW(struct outer, map, SCHEMA_STRING_MAP, SCHEMA_OPTIONAL),
	{"choice",
	 SCHEMA_ENUM,
	 SCHEMA_DEFAULTED,
	 offsetof(struct outer, choice),
	 {.names = choices},
	 0,
	 few_choices},
	SCHEMA_OBJECT_FIELD(struct outer, inner, SCHEMA_OPTIONAL, &inner_schema),
	{"strings",
	 SCHEMA_LIST,
	 SCHEMA_OPTIONAL,
	 offsetof(struct outer, strings),
	 {.object = NULL},
	 0,
	 NULL},
	{"inners",
	 SCHEMA_LIST,
	 SCHEMA_OPTIONAL,
	 offsetof(struct outer, inners),
	 {.object = &inner_schema},
	 0,
	 NULL},
};

static struct schema table = SCHEMA("Outer", struct outer, fields);

void main(void)
{
	static struct outer out;
	struct json_value value = any_member_value();
	struct error err = {0};
	uint64_t present = 0;

	table.is_open = any_bool();
	table.is_patch = any_bool();
	table.or_else = any_bool() ? 1 : 0;
	keep(schema_decode(&table, &value, &out, &present, &err));
	keep(present);
	keep(schema_encode(&table, &out, any_u64()) != NULL);
	schema_free(&table, &out);
	keep(schema_expect_object("Outer", &value, &err));
	keep(schema_expect_list(&value, &err));
	keep(schema_missing("field", &value, &err));
}
