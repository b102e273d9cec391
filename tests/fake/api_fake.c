/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that does nothing but remember. */
#include "tests/fake/api_fake.h"

#include <stdlib.h>
#include <string.h>

#include "api/res_drives.h"
#include "api/res_network_interfaces.h"
#include "api/router.h"
#include "tests/lib/action_drop.h"

void api_fake_init(struct api_fake *fake)
{
	vm_config_init(&fake->config);
	fake->arch = "x86_64";
}

static void forget(struct api_fake *fake)
{
	struct action *asked = &fake->asked;

	if (asked->kind == ACTION_PUT_LOGGER) {
		free((char *)asked->log.path);
		free((char *)asked->log.module);
	} else if (asked->kind == ACTION_PATCH_DRIVE) {
		schema_free(&res_drives_patch_schema, &asked->drive_update);
	} else if (asked->kind == ACTION_PATCH_NET) {
		schema_free(&res_network_interfaces_patch_schema, &asked->net_update);
	} else {
		action_drop(asked);
	}
	*asked = (struct action){0};
}

void api_fake_destroy(struct api_fake *fake)
{
	forget(fake);
	vm_config_destroy(&fake->config);
}

static char *copy(const char *text)
{
	return text != NULL ? strdup(text) : NULL;
}

/* Of those that stay the caller's. */
static void copy_strings(struct api_fake *fake, const struct action *action)
{
	struct action *asked = &fake->asked;

	if (action->kind == ACTION_PUT_LOGGER) {
		asked->log.path = copy(action->log.path);
		asked->log.module = copy(action->log.module);
	} else if (action->kind == ACTION_PATCH_DRIVE) {
		asked->drive_update.drive_id = copy(action->drive_update.drive_id);
		asked->drive_update.path_on_host = copy(action->drive_update.path_on_host);
	} else if (action->kind == ACTION_PATCH_NET) {
		asked->net_update.iface_id = copy(action->net_update.iface_id);
	}
}

int api_fake_execute(void *arg, struct action *action, struct error *err)
{
	struct api_fake *fake = arg;

	action->config = &fake->config;
	action->id = "fake-id";
	action->state = fake->state;
	if (action->kind == ACTION_GET) {
		return 0;
	}
	fake->count++;
	if (fake->fault != NULL) {
		return error_set(err, ERR_BAD_STATE, "%s", fake->fault);
	}
	forget(fake);
	fake->asked = *action;
	copy_strings(fake, action);
	if (action->kind == ACTION_PUT_MACHINE) {
		fake->config.machine = action->machine;
	} else if (action->kind == ACTION_GET_BALLOON_STATS) {
		action->stats = fake->stats;
	} else if (action->kind == ACTION_GET_HINTING) {
		action->hinting = fake->hinting;
	}
	return 0;
}

int api_fake_call(resource_fn fn, struct resource_call *call, const char *text, struct error *err)
{
	struct json_doc doc;

	if (json_doc_load(text, strlen(text), "Bad", &doc, err) < 0) {
		return -1;
	}

	struct json_value root = json_doc_root(&doc);

	call->json = &root;

	int result = fn(call, err);

	json_doc_free(&doc);
	call->json = NULL;
	return result;
}

struct http_response api_fake_request(struct api_fake *fake, const char *line, const char *body)
{
	static const char *const methods[] = {
		[HTTP_GET] = "GET ",
		[HTTP_PUT] = "PUT ",
		[HTTP_PATCH] = "PATCH ",
		[HTTP_DELETE] = "DELETE ",
	};
	struct router router = {.execute = api_fake_execute, .arg = fake, .arch = fake->arch};
	struct http_request request = {
		.body = body,
		.body_len = body != NULL ? strlen(body) : 0,
	};
	struct http_response response = {0};

	while (strncmp(line, methods[request.method], strlen(methods[request.method])) != 0) {
		request.method++;
	}
	request.path = line + strlen(methods[request.method]);
	router_handle(&router, &request, &response);
	return response;
}
