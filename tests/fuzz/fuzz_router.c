/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the API behind HTTP: the input is a method's letter and a path up to the first newline,
 * then the body. The machine that is asked takes what it gets, or refuses it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/router.h"
#include "tests/lib/action_drop.h"
#include "vmm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int execute(void *arg, struct action *action, struct error *err)
{
	static const struct vm_config config = {.machine = {1, 128, false, false, HUGE_PAGES_NONE}};
	const bool *refuses = arg;

	action->config = &config;
	action->id = "fuzz";
	action->state = VM_RUNNING;
	if (*refuses) {
		return error_set(err, ERR_BAD_STATE, "Not \"now\"");
	}
	action_drop(action);
	return 0;
}

static void check(const struct http_response *response)
{
	bool has_body = response->status != 204;

	if ((response->status != 200 && response->status != 204 && response->status != 400) ||
	    has_body != (response->body != NULL)) {
		abort();
	}
	if (!has_body) {
		return;
	}

	json_t *json = json_loadb(response->body, response->body_len, 0, NULL);

	if (json == NULL || (response->status == 400 &&
			     (json_object_size(json) != 1 ||
			      !json_is_string(json_object_get(json, "fault_message"))))) {
		abort();
	}
	json_decref(json);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct log_config quiet = {.level = LOG_OFF};
	struct error err = {0};

	(void)argc;
	(void)argv;
	return log_configure(&quiet, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char letters[] = "GUPD"; /* PATCH is P */
	bool refuses = len % 2 == 1;
	struct router router = {
		.execute = execute, .arg = &refuses, .arch = len % 3 == 0 ? "aarch64" : "x86_64"};
	struct http_response response = {0};
	char *text = strndup((const char *)data, len);
	char *body = strchr(text, '\n');
	const char *letter = text[0] != '\0' ? strchr(letters, text[0]) : NULL;

	if (body != NULL) {
		*body++ = '\0';
		body = *body != '\0' ? body : NULL;
	}
	if (letter != NULL) {
		struct http_request request = {
			.method = (enum http_method)(letter - letters),
			.path = text + 1,
			.body = body,
			.body_len = body != NULL ? strlen(body) : 0,
		};

		router_handle(&router, &request, &response);
		check(&response);
	}
	free(response.body);
	free(text);
	return 0;
}
