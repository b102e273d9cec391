/* SPDX-License-Identifier: Apache-2.0 */
/* jansson for EVA: values of any type, in objects and arrays of any length. */
#ifndef TESTS_EVA_JANSSON_H
#define TESTS_EVA_JANSSON_H

#include "tests/eva/eva.h"

/* In place of its own, whose atomic operations Frama-C does not know. */
#define JANSSON_CONFIG_H
#define JSON_INLINE inline
#define JSON_INTEGER_IS_LONG_LONG 1

#include <jansson.h>

#include "vmm/base/json.h"

enum {
	TEXT_LEN = 12
};

static char json_text[TEXT_LEN];
static char json_string_room[TEXT_LEN];
static json_t value_room;

/* A value, or none. */
static json_t *any_value(void)
{
	value_room.type = any_between(JSON_OBJECT, JSON_NULL);
	value_room.refcount = 2;
	return any_bool() ? &value_room : NULL;
}

static char *any_string(void)
{
	fill(json_string_room, sizeof(json_string_room));
	json_string_room[sizeof(json_string_room) - 1] = '\0';
	return json_string_room;
}

void json_delete(json_t *json)
{
	(void)json;
}

json_t *json_integer(json_int_t number)
{
	keep((uint64_t)number);
	return any_value();
}

json_int_t json_integer_value(const json_t *integer)
{
	(void)integer;
	return (json_int_t)any_u64();
}

double json_real_value(const json_t *real)
{
	(void)real;
	return 0.5;
}

void *json_object_iter(json_t *object)
{
	(void)object;
	return any_bool() ? &value_room : NULL;
}

void *json_object_iter_next(json_t *object, void *iter)
{
	(void)iter;
	return json_object_iter(object);
}

const char *json_object_iter_key(void *iter)
{
	(void)iter;
	return any_string();
}

json_t *json_object_iter_value(void *iter)
{
	(void)iter;
	return any_value();
}

json_t *json_array_get(const json_t *array, size_t index)
{
	(void)array;
	keep(index);
	return any_value();
}

/* Each place of a fault apart. */
json_t *json_loadb(const char *text, size_t len, size_t flags, json_error_t *error)
{
	/*@ assert len == 0 || \valid_read(text + (0 .. len - 1)); */
	keep(flags);
	error->position = Frama_C_interval_split(0, TEXT_LEN);
	error->text[JSON_ERROR_TEXT_LENGTH - 1] =
		(char)any_between(json_error_unknown, json_error_index_out_of_range);
	return any_value();
}

char *json_dumps(const json_t *json, size_t flags)
{
	(void)json;
	keep(flags);
	return any_bool() ? any_string() : NULL;
}

#endif
