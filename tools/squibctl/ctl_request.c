/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, and how their faults are shown. */
#include "tools/squibctl/ctl_request.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/squibctl/ctl_clean.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/fd.h"

/* "squibctl: FRONT TEXT", the text cleaned, and a line of the hint, in one write: others may write
 * to the same terminal or file. */
static void print_lines(const char *front, const char *text, const char *hint_front,
			const char *hint)
{
	AUTO_FREE char *lines = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&lines, &len);

	if (out == NULL) {
		return;
	}
	fprintf(out, "squibctl: %s", front);
	clean_print(out, text);
	fputc('\n', out);
	if (hint != NULL) {
		fprintf(out, "squibctl: %s%s\n", hint_front, hint);
	}
	if (fclose(out) == 0) {
		fwrite(lines, 1, len, stderr);
	}
}

void ctl_complain(const char *text)
{
	print_lines("", text, "", NULL);
}

void ctl_print_json(const json_t *json)
{
	(void)json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putchar('\n');
}

enum ctl_exit ctl_fail(enum ctl_exit code, const char *text, const char *hint)
{
	print_lines("", text, "", hint);
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
	AUTO_FREE char *front =
		ctl_text("%s %s was refused (status %u): ", method, path, reply->status);

	print_lines(front != NULL ? front : "", fault, "hint: ", ctl_hint(fault));
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
