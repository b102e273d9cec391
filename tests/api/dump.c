/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the API's routes and field tables as JSON, for check_description. */
#include <stdio.h>
#include <string.h>

#include "api/router.h"
#include "api/schemas.h"

static const char *const types[] = {
	[SCHEMA_BOOL] = "boolean",  [SCHEMA_U8] = "uint8",	 [SCHEMA_U16] = "uint16",
	[SCHEMA_U32] = "uint32",    [SCHEMA_U64] = "uint64",	 [SCHEMA_USIZE] = "uint64",
	[SCHEMA_STRING] = "string", [SCHEMA_STRING_MAP] = "map", [SCHEMA_ENUM] = "enum",
	[SCHEMA_OBJECT] = "object", [SCHEMA_LIST] = "list",
};

static const char *const needs[] = {
	[SCHEMA_REQUIRED] = "required",
	[SCHEMA_DEFAULTED] = "defaulted",
	[SCHEMA_OPTIONAL] = "optional",
};

static const char *const methods[] = {
	[HTTP_GET] = "get",
	[HTTP_PUT] = "put",
	[HTTP_PATCH] = "patch",
	[HTTP_DELETE] = "delete",
};

static json_t *dump_field(const struct schema *schema, const struct schema_field *field)
{
	json_t *json = json_pack("{s:s, s:s, s:s}", "name", field->name, "type", types[field->type],
				 "need", needs[schema->is_patch ? SCHEMA_OPTIONAL : field->need]);

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

static json_t *dump_schema(const struct schema *schema)
{
	json_t *fields = json_array();

	for (size_t i = 0; i < schema->count; i++) {
		json_array_append_new(fields, dump_field(schema, &schema->fields[i]));
	}
	return json_pack("{s:s, s:b, s:o}", "name", schema->name, "open", schema->is_open, "fields",
			 fields);
}

static json_t *dump_route(const struct route *route)
{
	const char *tokens[] = {route->path.first, route->path.second, route->path.third};
	char path[128] = "";

	for (size_t i = 0; i < 3 && tokens[i] != ROUTE_ANY && tokens[i][0] != '\0'; i++) {
		strcat(path, "/");
		strcat(path, tokens[i]);
	}
	return json_pack("{s:s, s:s, s:b, s:b}", "method", methods[route->method], "path",
			 path[0] != '\0' ? path : "/", "reads", (route->flags & BODY_READ) != 0,
			 "may_lack_body", (route->flags & BODY_ABSENT) != 0);
}

int main(void)
{
	json_t *schemas = json_array();
	json_t *routes = json_array();

	for (size_t i = 0; api_schemas[i] != NULL; i++) {
		json_array_append_new(schemas, dump_schema(api_schemas[i]));
	}
	for (size_t i = 0; i < router_route_count; i++) {
		if ((router_routes[i].flags & ROUTE_UNKNOWN) == 0) {
			json_array_append_new(routes, dump_route(&router_routes[i]));
		}
	}

	json_t *all = json_pack("{s:o, s:o}", "schemas", schemas, "routes", routes);
	int result = json_dumpf(all, stdout, JSON_INDENT(1));

	json_decref(all);
	return result < 0;
}
