/* SPDX-License-Identifier: Apache-2.0 */
/* Reads, runs and frees requests by their rows in the list of resources. */
#include "vmm/resources/request.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/resources/resource.h"

static int decode(struct request *request, const struct json_value *json, struct error *err)
{
	const struct method *method = request->method;

	if (method->schema == NULL) {
		return 0;
	}
	request->body = calloc(1, method->schema->size);
	if (request->body == NULL) {
		return error_sys(err, "Cannot read the body");
	}
	if (method->defaults != NULL) {
		memcpy(request->body, method->defaults, method->schema->size);
	}
	return json == NULL
		       ? 0
		       : schema_decode(method->schema, json, request->body, &request->present, err);
}

int request_read(struct request *request, const struct json_value *json, struct error *err)
{
	int result = decode(request, json, err);

	if (result == 0 && request->method->check != NULL) {
		request->json = json;
		result = request->method->check(request, err);
		request->json = NULL;
	}
	return result;
}

static COLD int refuse_state(enum vm_state state, const char *refusal, struct error *err)
{
	if (refusal != NULL) {
		return error_set(err, ERR_BAD_STATE, "%s", refusal);
	}
	return error_set(err, ERR_BAD_STATE,
			 "The requested operation is not supported %s starting the microVM.",
			 state == VM_NOT_STARTED ? "before" : "after");
}

static int add_prefix(const struct request *request, struct error *err)
{
	const char *prefix = request->prefix != NULL ? request->prefix : request->method->prefix;

	return prefix != NULL && prefix[0] != '\0' ? error_wrap(err, "%s", prefix) : -1;
}

int request_run(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct method *method = request->method;
	enum vm_state state = microvm->controller.state;

	if ((method->states & 1u << state) == 0) {
		return refuse_state(state, method->refusal, err);
	}
	bool is_get = method == &request->resource->methods[HTTP_GET];

	if (request->resource->is_for_boot && !is_get && !request->is_loaded) {
		microvm->is_configured = true;
	}
	int result = 0;

	if (request->is_committing) {
		result = method->commit(microvm, request, err);
	} else if (method->run != NULL) {
		result = method->run(microvm, request, err);
	}
	return result < 0 ? add_prefix(request, err) : 0;
}

int request_do(struct request *request, request_fn execute, void *arg, struct error *err)
{
	request->is_committing = false;
	if (execute(arg, request, err) < 0) {
		return -1;
	}
	return request->waits ? REQUEST_WAITS : request_go_on(request, execute, arg, err);
}

int request_go_on(struct request *request, request_fn execute, void *arg, struct error *err)
{
	const struct method *method = request->method;

	if (method->finish != NULL && method->finish(request, err) < 0) {
		return add_prefix(request, err);
	}
	if (method->commit == NULL) {
		return 0;
	}
	request->is_committing = true;
	return execute(arg, request, err);
}

int request_run_here(void *microvm, struct request *request, struct error *err)
{
	return request_run(microvm, request, err);
}

int request_reply(struct request *request, json_t *reply, struct error *err)
{
	request->reply = reply;
	return reply != NULL ? 0 : error_set(err, ERR_HOST, "Out of memory for the answer");
}

void request_destroy(struct request *request)
{
	if (request->body != NULL) {
		schema_free(request->method->schema, request->body);
		free(request->body);
	}
	free(request->text);
	json_decref(request->content);
	json_decref(request->stored);
	json_decref(request->reply);
	request->body = NULL;
	request->text = NULL;
	request->content = NULL;
	request->stored = NULL;
	request->reply = NULL;
}
