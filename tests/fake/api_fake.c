/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that does nothing but remember. */
#include "tests/fake/api_fake.h"

#include <stdlib.h>
#include <string.h>

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
	if (action->kind == ACTION_PUT_LOGGER) {
		/* The caller's. */
		fake->asked.log.path = action->log.path != NULL ? strdup(action->log.path) : NULL;
		fake->asked.log.module =
			action->log.module != NULL ? strdup(action->log.module) : NULL;
	} else if (action->kind == ACTION_PUT_MACHINE) {
		fake->config.machine = action->machine;
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
