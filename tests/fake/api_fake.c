/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that does nothing but remember. */
#include "tests/fake/api_fake.h"

#include <stdlib.h>
#include <string.h>

#include "api/res_drives.h"
#include "api/res_network_interfaces.h"
#include "api/res_vsock.h"
#include "api/router.h"

void api_fake_init(struct api_fake *fake)
{
	vm_config_init(&fake->config);
	fake->arch = "x86_64";
}

static void forget(struct api_fake *fake)
{
	switch (fake->asked.kind) {
	case ACTION_PUT_BOOT_SOURCE:
		free(fake->asked.boot_source.kernel_image_path);
		free(fake->asked.boot_source.initrd_path);
		free(fake->asked.boot_source.boot_args);
		break;
	case ACTION_PUT_SERIAL:
		free(fake->asked.serial.serial_out_path);
		break;
	case ACTION_PUT_METRICS:
		free(fake->asked.metrics.metrics_path);
		free(fake->asked.metrics.properties);
		break;
	case ACTION_PUT_LOGGER:
		free((char *)fake->asked.log.path);
		free((char *)fake->asked.log.module);
		break;
	case ACTION_PUT_DRIVE:
		schema_free(&res_drives_schema, &fake->asked.drive);
		break;
	case ACTION_PATCH_DRIVE:
		schema_free(&res_drives_patch_schema, &fake->asked.drive_update);
		break;
	case ACTION_PUT_NET:
		schema_free(&res_network_interfaces_schema, &fake->asked.net);
		break;
	case ACTION_PATCH_NET:
		schema_free(&res_network_interfaces_patch_schema, &fake->asked.net_update);
		break;
	case ACTION_PUT_VSOCK:
		schema_free(&res_vsock_schema, &fake->asked.vsock);
		break;
	case ACTION_PUT_PMEM:
	case ACTION_UNPLUG:
	case ACTION_PUT_ENTROPY:
	case ACTION_PUT_BALLOON:
	case ACTION_GET_BALLOON:
	case ACTION_PATCH_BALLOON:
	case ACTION_GET_BALLOON_STATS:
	case ACTION_PATCH_BALLOON_STATS:
	case ACTION_START_HINTING:
	case ACTION_GET_HINTING:
	case ACTION_STOP_HINTING:
	case ACTION_GET:
	case ACTION_PUT_MACHINE:
	case ACTION_START:
	case ACTION_PAUSE:
	case ACTION_RESUME:
	case ACTION_CTRL_ALT_DEL:
	case ACTION_FLUSH_METRICS:
	case ACTION_KINDS:
		break;
	}
	fake->asked = (struct action){0};
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
