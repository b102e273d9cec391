/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes JSON objects by field tables.
 *
 * Theory of operation
 *
 * Members are taken in the order of the text, so that of several faults the first one is told, as
 * serde does; missing fields come last, in the order of the table. The places in messages are
 * serde_json's too [compat]: after the offending value; before it if that is an object or array;
 * and for an unknown field, which the parser above it notices, after the next token's white space.
 * Objects within objects recurse: as deep as the tables are, whatever the text.
 */
#include "vmm/base/schema.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/fd.h"
#include "vmm/base/text.h"

static const struct {
	const char *expected;
	uint64_t max; /* 0: not a number */
} types[] = {
	[SCHEMA_BOOL] = {"a boolean", 0},   [SCHEMA_U8] = {"u8", UINT8_MAX},
	[SCHEMA_U16] = {"u16", UINT16_MAX}, [SCHEMA_U32] = {"u32", UINT32_MAX},
	[SCHEMA_U64] = {"u64", UINT64_MAX}, [SCHEMA_USIZE] = {"usize", UINT64_MAX},
	[SCHEMA_STRING] = {"a string", 0},  [SCHEMA_PATH] = {"path string", 0},
	[SCHEMA_STRING_MAP] = {"a map", 0}, [SCHEMA_ENUM] = {"a string", 0},
	[SCHEMA_LIST] = {"a sequence", 0},
};

enum {
	LIST_LEN = 384,
	SHOWN_LEN = JSON_QUOTE_LEN + 32
};

/* "`a`", "`a` or `b`", "one of `a`, `b`, `c`"; `name_of` gives NULL after the last name. */
static void list_names(const void *table, const char *(*name_of)(const void *table, size_t i),
		       char list[LIST_LEN])
{
	size_t count = 0;
	struct text text;

	while (name_of(table, count) != NULL) {
		count++;
	}
	text_init(&text, list, LIST_LEN);
	for (size_t i = 0; i < count; i++) {
		const char *before =
			count > 2 ? (i == 0 ? "one of " : ", ") : (i == 0 ? "" : " or ");

		text_add(&text, "%s`%s`", before, name_of(table, i));
	}
}

static const char *field_name(const void *table, size_t i)
{
	const struct schema *schema = table;

	return i < schema->count ? schema->fields[i].name : NULL;
}

static const char *enum_name(const void *table, size_t i)
{
	const char *const *names = table;

	return names[i];
}

/* A float as Rust prints it: the fewest digits that mean it, no exponent, always a fraction. */
static void show_real(double value, char *buf, size_t len)
{
	char digits[40]; /* of "1.234e+05" */
	int precision = 0;

	do {
		(void)!snprintf(digits, sizeof(digits), "%.*e", precision, value);
	} while (strtod(digits, NULL) != value && ++precision < DBL_DECIMAL_DIG);

	int exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
	struct text text;

	text_init(&text, buf, len);
	if (exponent <= precision) {
		text_add(&text, "floating point `%.*f`",
			 precision > exponent ? precision - exponent : 1, value);
		return;
	}
	text_add(&text, "floating point `%s%c", value < 0 ? "-" : "", digits[value < 0 ? 1 : 0]);
	text_add(&text, "%.*s", precision, digits + (value < 0 ? 3 : 2));
	for (int i = precision; i < exponent; i++) {
		text_add(&text, "0");
	}
	text_add(&text, ".0`");
}

/* Not -0, which is a float to serde and an integer to jansson. */
static bool is_negative(const struct json_value *value)
{
	return json_is_integer(value->json) && json_integer_value(value->json) < 0 &&
	       value->doc->text[value->start] == '-';
}

/* What serde calls a value that it did not expect. */
static void show_value(const struct json_value *value, char buf[SHOWN_LEN])
{
	const json_t *json = value->json;
	char quoted[JSON_QUOTE_LEN];
	uint64_t number;

	switch (json_typeof(json)) {
	case JSON_OBJECT:
		(void)!snprintf(buf, SHOWN_LEN, "map");
		break;
	case JSON_ARRAY:
		(void)!snprintf(buf, SHOWN_LEN, "sequence");
		break;
	case JSON_STRING:
		json_quote(json_string_value(json), json_string_length(json), quoted,
			   sizeof(quoted));
		(void)!snprintf(buf, SHOWN_LEN, "string \"%s\"", quoted);
		break;
	case JSON_INTEGER:
	case JSON_REAL:
		if (json_value_u64(value, &number)) {
			(void)!snprintf(buf, SHOWN_LEN, "integer `%" PRIu64 "`", number);
		} else if (is_negative(value)) {
			(void)!snprintf(buf, SHOWN_LEN, "integer `%" JSON_INTEGER_FORMAT "`",
					json_integer_value(json));
		} else {
			show_real(json_value_real(value), buf, SHOWN_LEN);
		}
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		(void)!snprintf(buf, SHOWN_LEN, "boolean `%s`",
				json_is_true(json) ? "true" : "false");
		break;
	case JSON_NULL:
		(void)!snprintf(buf, SHOWN_LEN, "null");
		break;
	}
}

static int unexpected(const struct json_value *json, const char *fault, const char *expected,
		      struct error *err)
{
	bool is_nested = json_is_object(json->json) || json_is_array(json->json);
	char shown[SHOWN_LEN];

	show_value(json, shown);
	error_set(err, ERR_BAD_REQUEST, "invalid %s: %s, expected %s", fault, shown, expected);
	return json_error_at(err, json->doc, is_nested ? json->start : json_value_end(json));
}

static int unknown_name(const struct json_value *json, const char *const *names, struct error *err)
{
	const char *text = json_string_value(json->json);
	char quoted[JSON_QUOTE_LEN];
	char list[LIST_LEN];

	json_quote(text, strlen(text), quoted, sizeof(quoted));
	list_names(names, enum_name, list);
	error_set(err, ERR_BAD_REQUEST, "unknown variant `%s`, expected %s", quoted, list);
	return json_error_at(err, json->doc, json_value_end(json));
}

static int unknown_field(const struct schema *schema, const struct json_member *member,
			 struct error *err)
{
	char quoted[JSON_QUOTE_LEN];
	char list[LIST_LEN];

	json_quote(member->key, strlen(member->key), quoted, sizeof(quoted));
	list_names(schema, field_name, list);
	error_set(err, ERR_BAD_REQUEST, "unknown field `%s`, expected %s", quoted, list);
	return json_error_after_space(err, member->value.doc, member->key_end);
}

static int decode_integer(const struct schema_field *field, const struct json_value *json,
			  void *member, struct error *err)
{
	const char *expected = types[field->type].expected;

	uint64_t value = 0;
	bool is_natural = json_value_u64(json, &value);

	if (!is_natural && !is_negative(json)) {
		return unexpected(json, "type", expected, err);
	}
	if (!is_natural || value > types[field->type].max) {
		return unexpected(json, "value", expected, err);
	}
	switch (types[field->type].max) {
	case UINT8_MAX:
		*(uint8_t *)member = (uint8_t)value;
		break;
	case UINT16_MAX:
		*(uint16_t *)member = (uint16_t)value;
		break;
	case UINT32_MAX:
		*(uint32_t *)member = (uint32_t)value;
		break;
	default:
		*(uint64_t *)member = value;
		break;
	}
	return 0;
}

static int decode_string(enum schema_type type, const struct json_value *json, char **member,
			 struct error *err)
{
	if (!json_is_string(json->json)) {
		return unexpected(json, "type", types[type].expected, err);
	}

	free(*member);
	*member = strdup(json_string_value(json->json));
	if (*member == NULL) {
		return error_sys(err, "Cannot keep a string of the configuration");
	}
	return 0;
}

static int decode_string_map(const struct json_value *json, char **member, struct error *err)
{
	if (!json_is_object(json->json)) {
		return unexpected(json, "type", types[SCHEMA_STRING_MAP].expected, err);
	}

	struct json_member entry = json_member_first(json);

	for (; entry.key != NULL; entry = json_member_next(json, &entry)) {
		if (!json_is_string(entry.value.json)) {
			return unexpected(&entry.value, "type", types[SCHEMA_STRING].expected, err);
		}
	}
	free(*member);
	*member = json_dumps(json->json, JSON_COMPACT);
	if (*member == NULL) {
		return error_sys(err, "Cannot keep a map of the configuration");
	}
	return 0;
}

static const char *const *taken_names(const struct schema_field *field)
{
	return field->listed != NULL ? field->listed : field->names;
}

/* The place of `name` in a list that ends with NULL, or the list's length. */
static unsigned find_name(const char *const *names, const char *name)
{
	unsigned i = 0;

	while (names[i] != NULL && strcmp(names[i], name) != 0) {
		i++;
	}
	return i;
}

static int decode_enum(const struct schema_field *field, const struct json_value *json,
		       unsigned *member, struct error *err)
{
	if (!json_is_string(json->json)) {
		/* serde_json looks at the first byte only [compat]. */
		error_set(err, ERR_BAD_REQUEST, "expected value");
		return json_error_at(err, json->doc, json->start + 1);
	}
	const char *const *taken = taken_names(field);
	unsigned at = find_name(taken, json_string_value(json->json));

	if (taken[at] == NULL) {
		return unknown_name(json, taken, err);
	}
	*member = find_name(field->names, taken[at]);
	return 0;
}

static int decode_object(const struct schema *schema, const struct json_value *json, void *out,
			 uint64_t *present, struct error *err);

static size_t item_size(const struct schema_field *field)
{
	return field->object != NULL ? field->object->size : sizeof(char *);
}

static void free_list(const struct schema_field *field, struct schema_list *list)
{
	for (size_t i = 0; list->items != NULL && i < list->count; i++) {
		char *item = (char *)list->items + i * item_size(field);

		if (field->object != NULL) {
			schema_free(field->object, item);
		} else {
			free_pointer(item);
		}
	}
	free(list->items);
	*list = (struct schema_list){0};
}

static int decode_list(const struct schema_field *field, const struct json_value *json,
		       struct schema_list *list, struct error *err)
{
	if (!json_is_array(json->json)) {
		return unexpected(json, "type", types[SCHEMA_LIST].expected, err);
	}

	size_t count = json_array_size(json->json);
	struct json_value element = {0};

	free_list(field, list);
	if (count == 0) {
		return 0;
	}
	list->items = calloc(count, item_size(field));
	if (list->items == NULL) {
		return error_sys(err, "Cannot keep a list of the configuration");
	}
	for (; list->count < count; list->count++) {
		char *item = (char *)list->items + list->count * item_size(field);
		uint64_t present;

		element = json_element(json, list->count, list->count > 0 ? &element : NULL);
		if (field->object == NULL) {
			if (decode_string(SCHEMA_STRING, &element, (char **)item, err) < 0) {
				return -1;
			}
		} else if (decode_object(field->object, &element, item, &present, err) < 0) {
			schema_free(field->object, item);
			return -1;
		}
	}
	return 0;
}

static int decode_field(const struct schema_field *field, const struct json_value *json, void *out,
			struct error *err)
{
	void *member = (char *)out + field->offset;
	uint64_t present;

	switch (field->type) {
	case SCHEMA_BOOL:
		if (!json_is_boolean(json->json)) {
			return unexpected(json, "type", types[SCHEMA_BOOL].expected, err);
		}
		*(bool *)member = json_is_true(json->json);
		return 0;
	case SCHEMA_U8:
	case SCHEMA_U16:
	case SCHEMA_U32:
	case SCHEMA_U64:
	case SCHEMA_USIZE:
		return decode_integer(field, json, member, err);
	case SCHEMA_STRING:
	case SCHEMA_PATH:
		return decode_string(field->type, json, member, err);
	case SCHEMA_STRING_MAP:
		return decode_string_map(json, member, err);
	case SCHEMA_ENUM:
		return decode_enum(field, json, member, err);
	case SCHEMA_OBJECT:
		*((bool *)out + field->has) = true;
		return decode_object(field->object, json, member, &present, err);
	case SCHEMA_LIST:
		return decode_list(field, json, member, err);
	}
	return 0;
}

/* The row for `name`, schema->count if there is none. */
static size_t find_field(const struct schema *schema, const char *name)
{
	size_t i = 0;

	while (i < schema->count && strcmp(schema->fields[i].name, name) != 0) {
		i++;
	}
	return i;
}

static enum schema_need need_of(const struct schema *schema, const struct schema_field *field)
{
	return schema->is_patch ? SCHEMA_OPTIONAL : field->need;
}

static int decode_member(const struct schema *schema, const struct json_member *member, void *out,
			 uint64_t *present, struct error *err)
{
	size_t i = find_field(schema, member->key);

	if (i == schema->count) {
		return schema->is_open ? 0 : unknown_field(schema, member, err);
	}
	const struct schema_field *field = &schema->fields[i];

	if (json_is_null(member->value.json) && need_of(schema, field) == SCHEMA_OPTIONAL) {
		return 0;
	}
	if (decode_field(field, &member->value, out, err) < 0) {
		return -1;
	}
	*present |= UINT64_C(1) << i;
	return 0;
}

static int decode_members(const struct schema *schema, const struct json_value *json, void *out,
			  uint64_t *present, struct error *err)
{
	struct json_member member = json_member_first(json);

	for (; member.key != NULL; member = json_member_next(json, &member)) {
		if (decode_member(schema, &member, out, present, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int expect_object(const char *name, const struct json_value *json, struct error *err)
{
	char expected[64];

	if (json_is_object(json->json)) {
		return 0;
	}
	(void)!snprintf(expected, sizeof(expected), "struct %s", name);
	return unexpected(json, "type", expected, err);
}

static int missing(const char *name, const struct json_value *json, struct error *err)
{
	error_set(err, ERR_BAD_REQUEST, "missing field `%s`", name);
	return json_error_at(err, json->doc, json_value_end(json));
}

static bool is_absent(const struct schema *schema, size_t i, uint64_t present)
{
	bool is_replaced = schema->either == i && schema->or_else != i &&
			   (present >> schema->or_else & 1) != 0;

	return !is_replaced && (present >> i & 1) == 0;
}

static int decode_object(const struct schema *schema, const struct json_value *json, void *out,
			 uint64_t *present, struct error *err)
{
	assert(schema->count <= SCHEMA_FIELDS_MAX);
	*present = 0;
	if (expect_object(schema->name, json, err) < 0 ||
	    decode_members(schema, json, out, present, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < schema->count; i++) {
		const struct schema_field *field = &schema->fields[i];

		if (need_of(schema, field) == SCHEMA_REQUIRED && is_absent(schema, i, *present)) {
			return missing(field->name, json, err);
		}
	}
	return 0;
}

int schema_decode(const struct schema *schema, const struct json_value *json, void *out,
		  uint64_t *present, struct error *err)
{
	if (decode_object(schema, json, out, present, err) < 0) {
		return json_fault(err, json->doc);
	}
	return 0;
}

int schema_expect_object(const char *name, const struct json_value *json, struct error *err)
{
	return expect_object(name, json, err) < 0 ? json_fault(err, json->doc) : 0;
}

int schema_expect_list(const struct json_value *json, struct error *err)
{
	if (json_is_array(json->json)) {
		return 0;
	}
	unexpected(json, "type", types[SCHEMA_LIST].expected, err);
	return json_fault(err, json->doc);
}

int schema_missing(const char *name, const struct json_value *json, struct error *err)
{
	missing(name, json, err);
	return json_fault(err, json->doc);
}

/* --- Writing --- */

static json_t *encode_integer(const struct schema_field *field, uint64_t value)
{
	if (value == 0 && field->need == SCHEMA_OPTIONAL) {
		return json_null();
	}
	return json_from_u64(value);
}

static json_t *encode_string(const struct schema_field *field, const char *text)
{
	if (text == NULL && field->need == SCHEMA_OPTIONAL) {
		return json_null();
	}
	return json_string(text != NULL ? text : "");
}

static json_t *encode_list(const struct schema_field *field, const struct schema_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; list->items != NULL && i < list->count; i++) {
		const char *item = (const char *)list->items + i * item_size(field);
		json_t *element = field->object != NULL
					  ? schema_encode(field->object, item, SCHEMA_ALL)
					  : json_string(*(const char *const *)item);

		if (json_array_append_new(array, element) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *encode_field(const struct schema_field *field, const void *in)
{
	const void *member = (const char *)in + field->offset;

	switch (field->type) {
	case SCHEMA_BOOL:
		return json_boolean(*(const bool *)member);
	case SCHEMA_U8:
		return encode_integer(field, *(const uint8_t *)member);
	case SCHEMA_U16:
		return encode_integer(field, *(const uint16_t *)member);
	case SCHEMA_U32:
		return encode_integer(field, *(const uint32_t *)member);
	case SCHEMA_U64:
	case SCHEMA_USIZE:
		return encode_integer(field, *(const uint64_t *)member);
	case SCHEMA_STRING:
	case SCHEMA_PATH:
		return encode_string(field, *(const char *const *)member);
	case SCHEMA_STRING_MAP:
		return *(const char *const *)member != NULL
			       ? json_loads(*(const char *const *)member, 0, NULL)
			       : json_null();
	case SCHEMA_ENUM:
		return json_string(field->names[*(const unsigned *)member]);
	case SCHEMA_OBJECT:
		return *((const bool *)in + field->has)
			       ? schema_encode(field->object, member, SCHEMA_ALL)
			       : json_null();
	case SCHEMA_LIST:
		return encode_list(field, member);
	}
	return NULL;
}

json_t *schema_encode(const struct schema *schema, const void *in, uint64_t fields)
{
	json_t *object = json_object();

	/*@ loop unroll SCHEMA_FIELDS_MAX; */
	for (size_t i = 0; i < schema->count; i++) {
		const struct schema_field *field = &schema->fields[i];

		/* A NULL value or object is refused here, and freed. */
		if ((fields & UINT64_C(1) << i) != 0 &&
		    json_object_set_new(object, field->name, encode_field(field, in)) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

void schema_free(const struct schema *schema, void *out)
{
	/*@ loop unroll SCHEMA_FIELDS_MAX; */
	for (size_t i = 0; i < schema->count; i++) {
		const struct schema_field *field = &schema->fields[i];
		void *member = (char *)out + field->offset;

		if (field->type == SCHEMA_STRING || field->type == SCHEMA_PATH ||
		    field->type == SCHEMA_STRING_MAP) {
			free_pointer(member);
		} else if (field->type == SCHEMA_OBJECT) {
			schema_free(field->object, member);
		} else if (field->type == SCHEMA_LIST) {
			free_list(field, member);
		}
	}
}
