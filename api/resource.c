/* SPDX-License-Identifier: Apache-2.0 */
/* What all resources do alike. */
#include "api/resource.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/base/fd.h"

int resource_execute(const struct resource_call *call, struct action *action, struct error *err)
{
	return call->execute(call->arg, action, err);
}

int resource_check_id(const struct resource_call *call, const void *body, struct error *err)
{
	const char *id = *(const char *const *)body;

	if (call->path.second != NULL && strcmp(call->path.second, id) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The id from the path does not match the id from the body!");
	}
	return 0;
}

int resource_unplug(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_UNPLUG};

	return resource_execute(call, &action, err);
}

int resource_reply(struct resource_call *call, json_t *object, struct error *err)
{
	call->reply = object;
	if (object == NULL) {
		return error_set(err, ERR_HOST, "Out of memory for the answer");
	}
	return 0;
}

int resource_lacks(const char *what, struct error *err)
{
	return error_set(err, ERR_NOT_SUPPORTED, "This build of squib does not have %s yet.", what);
}

int resource_refuse(const struct resource_call *call, const struct schema *schema,
		    resource_id_fn check, const char *what, struct error *err)
{
	AUTO_FREE void *body = calloc(1, schema->size);
	uint64_t present;
	int result = 0;

	if (body == NULL) {
		return error_sys(err, "Cannot read the body");
	}
	if (call->json != NULL) {
		result = schema_decode(schema, call->json, body, &present, err);
	}
	if (result == 0 && check != NULL) {
		result = check(call, body, err);
	}
	schema_free(schema, body);
	return result < 0 ? -1 : resource_lacks(what, err);
}
