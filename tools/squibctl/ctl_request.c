/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, and how their faults are shown. */
#include "tools/squibctl/ctl_request.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/squibctl/ctl_clean.h"

void ctl_complain(const char *text)
{
	fputs("squibctl: ", stderr);
	clean_print(stderr, text);
	fputc('\n', stderr);
}

void ctl_print_json(const json_t *json)
{
	(void)json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putchar('\n');
}

enum ctl_exit ctl_fail(enum ctl_exit code, const char *text, const char *hint)
{
	ctl_complain(text);
	if (hint != NULL) {
		fprintf(stderr, "squibctl: %s\n", hint);
	}
	return code;
}

/* What the API says is wrong: {"fault_message": ...}, or {"error": ...} for what isn't HTTP. */
enum ctl_exit ctl_refused(const char *method, const char *path, const struct ctl_reply *reply)
{
	const char *body = reply->body != NULL ? reply->body : "";
	json_t *json = json_loads(body, 0, NULL);
	const char *fault = json_string_value(json_object_get(json, "fault_message"));

	/* The second kind has a bare line feed inside its string, so it is often no JSON. */
	fault = fault != NULL ? fault : json_string_value(json_object_get(json, "error"));
	fault = fault != NULL ? fault : body;
	const char *hint = ctl_hint(fault);

	fprintf(stderr, "squibctl: %s %s was refused (status %u): ", method, path, reply->status);
	clean_print(stderr, fault);
	fputc('\n', stderr);
	if (hint != NULL) {
		fprintf(stderr, "squibctl: hint: %s\n", hint);
	}
	json_decref(json);
	return CTL_EXIT_REFUSED;
}

enum ctl_exit ctl_request(int fd, const char *method, const char *path, const char *body,
			  struct ctl_reply *reply)
{
	struct error err = {0};

	if (ctl_http_exchange(fd, method, path, body, reply, &err) < 0) {
		return ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg, NULL);
	}
	if (reply->status >= CTL_STATUS_FAULT) {
		enum ctl_exit code = ctl_refused(method, path, reply);

		free(reply->body);
		reply->body = NULL;
		return code;
	}
	return CTL_EXIT_OK;
}
