/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables: one row per field of a JSON object of the API, which lands in a member of a C
 * struct. The tables live with their owners (api/res_<url>.c); the engine is here.
 */
#ifndef VMM_BASE_SCHEMA_H
#define VMM_BASE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/json.h"

enum schema_type {
	SCHEMA_BOOL,
	SCHEMA_U8,
	SCHEMA_U16,
	SCHEMA_U32,
	SCHEMA_U64,
	SCHEMA_USIZE,	   /* a uint64_t that messages call usize [compat] */
	SCHEMA_STRING,	   /* char *, a heap block of the struct */
	SCHEMA_PATH,	   /* the same, of a file: a fault calls it a path */
	SCHEMA_STRING_MAP, /* the same: the text of an object whose values are strings */
	SCHEMA_ENUM,	   /* an enum whose values count the field's names from 0 */
	SCHEMA_OBJECT,	   /* a struct with a table, and a bool has_<member> beside it */
	SCHEMA_LIST,	   /* struct schema_list */
};

enum schema_need {
	SCHEMA_REQUIRED,
	SCHEMA_DEFAULTED, /* may be absent, but not null */
	SCHEMA_OPTIONAL,  /* null is as good as absent */
};

/* Strings (char *) or structs of the field's `object`, in a heap block of the struct. */
struct schema_list {
	void *items;
	size_t count;
};

struct schema;

struct schema_field {
	const char *name;
	enum schema_type type;
	enum schema_need need;
	size_t offset;
	union {
		const char *const *names;    /* SCHEMA_ENUM: ends with NULL */
		const struct schema *object; /* _OBJECT, and _LIST where NULL means strings */
	};
	size_t has; /* SCHEMA_OBJECT: offset of the bool */
	/*
	 * SCHEMA_ENUM: the names that are taken, in the order that messages have [compat]; NULL: as
	 * `names`
	 */
	const char *const *listed;
};

enum {
	SCHEMA_FIELDS_MAX = 64
};

struct schema {
	const char *name; /* as messages call the object, e.g. "MachineConfig" */
	const struct schema_field *fields;
	size_t count;  /* at most SCHEMA_FIELDS_MAX */
	size_t size;   /* of the struct */
	bool is_patch; /* all fields are optional */
	bool is_open;  /* unknown fields pass unread */
	/* Of these two, the first may be absent where the second is present; equal: none. */
	size_t either, or_else;
};

/*
 * A row for `member` of `object` (a type), under the same name in JSON or under `name`. The
 * compiler takes the type from the member, and refuses a member of the wrong one.
 */
// clang-format off
#define SCHEMA_FIELD(object, member, need) SCHEMA_FIELD_AS(#member, object, member, need)
#define SCHEMA_FIELD_AS(name, object, member, need)                                                \
	{name, _Generic(((object *)0)->member,                                                     \
		bool: SCHEMA_BOOL, uint8_t: SCHEMA_U8, uint16_t: SCHEMA_U16,                       \
		uint32_t: SCHEMA_U32, uint64_t: SCHEMA_U64, char *: SCHEMA_STRING,                 \
		const char *: SCHEMA_STRING), need, offsetof(object, member), {NULL}, 0, NULL}
#define SCHEMA_USIZE_FIELD_AS(name, object, member, need)                                          \
	{name, _Generic(((object *)0)->member, uint64_t: SCHEMA_USIZE), need,                      \
	 offsetof(object, member), {NULL}, 0, NULL}
#define SCHEMA_PATH_FIELD(object, member, need)                                                    \
	{#member, _Generic(((object *)0)->member, char *: SCHEMA_PATH), need,                      \
	 offsetof(object, member), {NULL}, 0, NULL}
#define SCHEMA_STRING_MAP_FIELD(object, member, need)                                              \
	{#member, _Generic(((object *)0)->member, char *: SCHEMA_STRING_MAP), need,                \
	 offsetof(object, member), {NULL}, 0, NULL}
#define SCHEMA_ENUM_FIELD(object, member, need, names)                                             \
	SCHEMA_ENUM_FIELD_AS(#member, object, member, need, names)
#define SCHEMA_ENUM_FIELD_LISTED(object, member, need, enum_names, names_listed)                   \
	{#member, _Generic(((object *)0)->member, unsigned: SCHEMA_ENUM), need,                    \
	 offsetof(object, member), {.names = (enum_names)}, 0, (names_listed)}
#define SCHEMA_ENUM_FIELD_AS(name, object, member, need, enum_names)                               \
	{name, _Generic(((object *)0)->member, unsigned: SCHEMA_ENUM), need,                       \
	 offsetof(object, member), {.names = (enum_names)}, 0, NULL}
#define SCHEMA_OBJECT_FIELD(object_type, member, need, table)                                      \
	SCHEMA_OBJECT_FIELD_AS(#member, object_type, member, has_##member, need, table)
#define SCHEMA_OBJECT_FIELD_AS(name, object_type, member, has_member, need, table)                 \
	{name, SCHEMA_OBJECT, need, offsetof(object_type, member), {.object = (table)},            \
	 offsetof(object_type, has_member), NULL}
#define SCHEMA_LIST_FIELD(object_type, member, need, table)                                        \
	SCHEMA_LIST_FIELD_AS(#member, object_type, member, need, table)
#define SCHEMA_LIST_FIELD_AS(name, object_type, member, need, table)                               \
	{name, _Generic(((object_type *)0)->member, struct schema_list: SCHEMA_LIST), need,        \
	 offsetof(object_type, member), {.object = (table)}, 0, NULL}

/* A table of an array of rows. */
#define SCHEMA(table_name, object_type, rows)                                                      \
	{.name = (table_name), .fields = (rows), .count = sizeof(rows) / sizeof((rows)[0]),        \
	 .size = sizeof(object_type)}
// clang-format on

/*
 * Reads the object `json` into *out. Fields that are absent (or null, where that is allowed) keep
 * what *out has, so defaults or the present configuration go there first; a string that is read
 * frees the one it replaces. Bit i of *present tells that field i was read. The first fault in the
 * order of the text is reported in serde's words with its place [compat], after the
 * document's `fault`. Also after a failure the strings in *out are the caller's, for schema_free.
 */
MUST_CHECK int schema_decode(const struct schema *schema, const struct json_value *json, void *out,
			     uint64_t *present, struct error *err);

/*
 * The JSON object of *in, NULL if memory is short. Bit i of `fields` tells that field i is shown,
 * SCHEMA_ALL that all are. An optional field that is NULL, 0 or not there is null; a string that is
 * NULL and not optional is empty [compat].
 */
#define SCHEMA_ALL UINT64_MAX
MUST_CHECK json_t *schema_encode(const struct schema *schema, const void *in, uint64_t fields);

/* The faults that a value without a table of its own can have: no object, no list, no `name`. */
MUST_CHECK int schema_expect_object(const char *name, const struct json_value *json,
				    struct error *err);
MUST_CHECK int schema_expect_list(const struct json_value *json, struct error *err);
COLD int schema_missing(const char *name, const struct json_value *json, struct error *err);

/* Frees the strings and lists of *out and leaves NULLs behind. */
void schema_free(const struct schema *schema, void *out);

#endif
