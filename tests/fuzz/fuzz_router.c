/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the API behind HTTP: the input is a method's letter and a path up to the first newline,
 * then the body. A microVM that was not started is asked, or says that it is not the time.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/router.h"
#include "tests/fuzz/fuzz.h"
#include "devices/mmds/mmds_json.h"
#include "tests/fuzz/no_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct microvm microvm;
static struct telemetry telemetry;

static int refuse(void *arg, struct request *request, struct error *err)
{
	(void)arg;
	(void)request;
	return error_set(err, ERR_BAD_STATE, "Not \"now\"");
}

static void check_fault(const struct http_response *response)
{
	json_t *json = json_loadb(response->body, response->body_len, 0, NULL);

	if (json == NULL || json_object_size(json) != 1 ||
	    !json_is_string(json_object_get(json, "fault_message"))) {
		abort();
	}
	json_decref(json);
}

/* Metadata come back with numbers of any size, which only their own reader takes. */
static void check_content(const struct http_response *response)
{
	struct error err = {0};
	json_t *json;

	if (mmds_json_load(response->body, response->body_len, "", &json, &err) < 0) {
		abort();
	}
	json_decref(json);
}

static void check(const struct http_response *response)
{
	bool has_body = response->status != 204;

	if (has_body != (response->body != NULL)) {
		abort();
	}
	switch (response->status) {
	case 200:
		check_content(response);
		break;
	case 204:
		break;
	case 400:
	case 413:
		check_fault(response);
		break;
	default:
		abort();
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	microvm.controller.id = "fuzz";
	microvm.controller.telemetry = &telemetry;
	microvm.metadata_max = 100;
	microvm_init(&microvm);
	be_quiet();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char letters[] = "GUPD"; /* PATCH is P */
	struct router router = {.execute = len % 2 == 1 ? refuse : run_without_host,
				.arg = &microvm};
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
		if (response.owed != NULL) {
			abort(); /* no machine was started */
		}
		check(&response);
	}
	free(response.body);
	free(text);
	microvm_destroy(&microvm);
	return 0;
}
