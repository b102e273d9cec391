/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the operations and field tables of all resources as JSON, for check_description. */
#include <stdio.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

static const char *const types[] = {
	[SCHEMA_BOOL] = "boolean",  [SCHEMA_U8] = "uint8",	[SCHEMA_U16] = "uint16",
	[SCHEMA_U32] = "uint32",    [SCHEMA_U64] = "uint64",	[SCHEMA_USIZE] = "uint64",
	[SCHEMA_STRING] = "string", [SCHEMA_PATH] = "string",	[SCHEMA_STRING_MAP] = "map",
	[SCHEMA_ENUM] = "enum",	    [SCHEMA_OBJECT] = "object", [SCHEMA_LIST] = "list",
};

static const char *const needs[] = {
	[SCHEMA_REQUIRED] = "required",
	[SCHEMA_DEFAULTED] = "defaulted",
	[SCHEMA_OPTIONAL] = "optional",
};

/* A required field that another one can stand for is none in the description. */
static const char *need_of(const struct schema *schema, const struct schema_field *field)
{
	bool is_either =
		schema->either != schema->or_else && field == &schema->fields[schema->either];

	return is_either ? "either" : needs[schema->is_patch ? SCHEMA_OPTIONAL : field->need];
}

static const char *const methods[] = {
	[HTTP_GET] = "get",
	[HTTP_PUT] = "put",
	[HTTP_PATCH] = "patch",
	[HTTP_DELETE] = "delete",
};

static json_t *dump_field(const struct schema *schema, const struct schema_field *field)
{
	json_t *json = json_pack("{s:s, s:s, s:s}", "name", field->name, "type", types[field->type],
				 "need", need_of(schema, field));

	if (field->type == SCHEMA_ENUM) {
		json_t *names = json_array();

		for (size_t i = 0; field->names[i] != NULL; i++) {
			json_array_append_new(names, json_string(field->names[i]));
		}
		json_object_set_new(json, "names", names);
	} else if (field->type == SCHEMA_OBJECT || field->type == SCHEMA_LIST) {
		json_object_set_new(json, "object",
				    field->object != NULL ? json_string(field->object->name)
							  : json_null());
	}
	return json;
}

/* Each table once. */
static struct {
	const struct schema *list[128];
	size_t count;
} seen;

static bool is_new(const struct schema *schema)
{
	for (size_t i = 0; i < seen.count; i++) {
		if (seen.list[i] == schema) {
			return false;
		}
	}
	if (seen.count < ARRAY_COUNT(seen.list)) {
		seen.list[seen.count++] = schema;
	}
	return true;
}

/* The table and those of the objects in it. */
static void dump_schema(json_t *schemas, const struct schema *schema)
{
	json_t *fields;

	if (schema == NULL || !is_new(schema)) {
		return;
	}
	fields = json_array();
	for (size_t i = 0; i < schema->count; i++) {
		const struct schema_field *field = &schema->fields[i];

		json_array_append_new(fields, dump_field(schema, field));
		if (field->type == SCHEMA_OBJECT || field->type == SCHEMA_LIST) {
			dump_schema(schemas, field->object);
		}
	}
	json_array_append_new(schemas, json_pack("{s:s, s:b, s:o}", "name", schema->name, "open",
						 schema->is_open, "fields", fields));
}

static void dump_route(json_t *routes, const struct resource *resource, enum http_method number)
{
	const struct method *method = &resource->methods[number];
	char path[128] = "";

	if (method->states == 0 || resource->arch != NULL) {
		return;
	}
	for (size_t i = 0; i < RESOURCE_TOKENS && resource->path[i] != NULL; i++) {
		strcat(path, "/");
		strcat(path, resource->path[i]);
	}
	if (resource->has_id) {
		strcat(path, "/{id}");
	}
	json_array_append_new(
		routes,
		json_pack("{s:s, s:s, s:b, s:b, s:b}", "method", methods[number], "path", path,
			  "answers", number == HTTP_GET || method->answers, "reads",
			  method->body == BODY_JSON || method->body == BODY_MAYBE ||
				  method->body == BODY_TEXT,
			  "may_lack_body", method->body != BODY_JSON && method->body != BODY_TEXT));
}

int main(void)
{
	json_t *schemas = json_array();
	json_t *routes = json_array();

	for (size_t i = 0; resources[i] != NULL; i++) {
		dump_schema(schemas, resources[i]->answer);
		for (int method = 0; method < HTTP_METHODS; method++) {
			dump_schema(schemas, resources[i]->methods[method].schema);
			dump_route(routes, resources[i], (enum http_method)method);
		}
	}

	json_t *all = json_pack("{s:o, s:o}", "schemas", schemas, "routes", routes);
	int result = json_dumpf(all, stdout, JSON_INDENT(1));

	json_decref(all);
	return result < 0;
}
