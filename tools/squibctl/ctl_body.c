/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of requests from words, files and standard input; bodies of answers for people. */
#include "tools/squibctl/ctl_body.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/squibctl/ctl_http.h"
#include "vmm/base/fd.h"

enum {
	INPUT_MAX = CTL_BODY_MAX,
	FD_STDIN = 0
};

/* --- Answers for people --- */

void ctl_print_body(const char *text, bool is_raw)
{
	json_t *json = NULL;
	char *pretty = NULL;

	if (!is_raw && isatty(STDOUT_FILENO)) {
		json = json_loads(text, JSON_DECODE_ANY, NULL);
		pretty = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL;
	}
	const char *shown = pretty != NULL ? pretty : text;
	size_t len = strlen(shown);

	fputs(shown, stdout);
	if (len == 0 || shown[len - 1] != '\n') {
		putchar('\n');
	}
	free(pretty);
	json_decref(json);
}

/* --- Bodies --- */

static int read_stdin(char **text, struct error *err)
{
	size_t len = 0;
	AUTO_FREE char *input = calloc(1, INPUT_MAX + 1);

	if (input == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for the input");
	}
	for (;;) {
		ssize_t got = read(FD_STDIN, input + len, INPUT_MAX - len);

		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			return error_sys(err, "Cannot read standard input");
		}
		if (got == 0) {
			break;
		}
		len += (size_t)got;
	}
	if (len == INPUT_MAX) {
		return error_set(err, ERR_TOO_LARGE, "Standard input has more than 16 MiB");
	}
	*text = input;
	input = NULL;
	return 0;
}

int ctl_read_body(const char *word, char **body, struct error *err)
{
	size_t len;

	if (strcmp(word, "-") == 0) {
		return read_stdin(body, err);
	}
	if (word[0] == '@') {
		return read_file(word + 1, "The request's body", INPUT_MAX, body, &len, err);
	}
	*body = strdup(word);
	return *body != NULL ? 0 : error_set(err, ERR_HOST, "There is no memory for the body");
}
