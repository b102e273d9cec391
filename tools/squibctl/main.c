/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl: controls a microVM through squib's API socket. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_fork.h"
#include "tools/squibctl/ctl_http.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_snapshot.h"
#include "vmm/base/fd.h"
#include "vmm/version.h"

enum {
	INPUT_MAX = CTL_BODY_MAX,
	FD_STDIN = 0
};

/* --- Answers for people --- */

/* JSON is pretty on a terminal; elsewhere, and if it isn't JSON, the text is as it came. */
static void print_body(const char *text, bool is_raw)
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

/* The body that the word stands for, in a heap block of its own. */
static int read_body(const char *word, char **body, struct error *err)
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

/* --- What commands show --- */

static enum ctl_exit print_status(int fd, const char *instance_text)
{
	struct ctl_reply machine_reply = {0};
	enum ctl_exit code = ctl_request(fd, "GET", "/machine-config", NULL, &machine_reply);

	if (code != CTL_EXIT_OK) {
		return code;
	}
	json_t *instance = json_loads(instance_text, 0, NULL);
	json_t *machine = json_loads(machine_reply.body != NULL ? machine_reply.body : "", 0, NULL);
	const char *id = "?";
	const char *state = "?";
	const char *version = "?";
	json_int_t vcpus = 0;
	json_int_t mem_mib = 0;

	if (json_unpack(instance, "{s:s, s:s, s:s}", "id", &id, "state", &state, "vmm_version",
			&version) < 0 ||
	    json_unpack(machine, "{s:I, s:I}", "vcpu_count", &vcpus, "mem_size_mib", &mem_mib) <
		    0) {
		code = ctl_fail(
			CTL_EXIT_NO_CONNECTION,
			"The answers on the socket are not squib's; is this its API socket?", NULL);
	} else {
		printf("id       %s\nstate    %s\nversion  %s\nvCPUs    %lld\nmemory   %lld MiB\n",
		       id, state, version, (long long)vcpus, (long long)mem_mib);
	}
	json_decref(instance);
	json_decref(machine);
	free(machine_reply.body);
	return code;
}

static enum ctl_exit wait_end(int fd)
{
	struct error err = {0};

	puts("waiting for squib to end");
	fflush(stdout);
	if (ctl_http_wait_end(fd, &err) < 0) {
		return ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg, NULL);
	}
	puts("ended");
	return CTL_EXIT_OK;
}

static enum ctl_exit show(int fd, const struct ctl_args *args, const struct ctl_reply *reply)
{
	switch (args->command->output) {
	case CTL_PRINT_STATUS:
		return print_status(fd, reply->body != NULL ? reply->body : "");
	case CTL_PRINT_DONE:
		puts(args->command->done);
		return args->waits ? wait_end(fd) : CTL_EXIT_OK;
	case CTL_PRINT_STEPS:
	case CTL_PRINT_CHILDREN:
		break;
	case CTL_PRINT_BODY:
		if (reply->body != NULL) {
			print_body(reply->body, args->is_raw);
		}
		return CTL_EXIT_OK;
	}
	return CTL_EXIT_OK;
}

static enum ctl_exit run(const struct ctl_args *args)
{
	const struct ctl_command *command = args->command;
	const char *path = command->path != NULL ? command->path : args->operands[0];
	AUTO_FREE char *body = NULL;
	AUTO_FD fd = -1;
	struct ctl_reply reply = {0};
	struct error err = {0};
	const char *word = command->path != NULL ? command->body : args->operands[1];

	if (word != NULL && read_body(word, &body, &err) < 0) {
		return ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	}
	if (ctl_http_connect(args->socket, &fd, &err) < 0) {
		return ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg, NULL);
	}
	if (command->output == CTL_PRINT_STEPS) {
		return ctl_snapshot_run(fd, args);
	}
	if (command->output == CTL_PRINT_CHILDREN) {
		return ctl_fork_run(fd, args);
	}
	enum ctl_exit code = ctl_request(fd, command->method, path, body, &reply);

	if (code == CTL_EXIT_OK) {
		code = show(fd, args, &reply);
	}
	free(reply.body);
	return code;
}

int main(int argc, char **argv)
{
	struct ctl_args args;
	struct error err = {0};

	if (ctl_args_parse(argc, argv, &args, &err) < 0) {
		return ctl_fail(CTL_EXIT_USAGE, err.msg, "see squibctl --help");
	}
	if (args.wants_help) {
		ctl_print_help(stdout);
		return CTL_EXIT_OK;
	}
	if (args.wants_version) {
		puts("squibctl v" SQUIB_VERSION);
		return CTL_EXIT_OK;
	}
	return (int)run(&args);
}
