/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata of a guest.
 *
 * Theory of operation. To edit them, they are laid out for reading in a temporary file, the user's
 * editor changes that, and what is left there is put. It is asked for again first: if the data have
 * changed meanwhile, nothing is put, and the file stays for the user to look at. So it does where
 * the API refuses what it has.
 */
#include "tools/squibctl/ctl_metadata.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/squibctl/ctl_body.h"
#include "tools/squibctl/ctl_request.h"
#include "vmm/base/fd.h"

static const char path[] = "/mmds";

/* The data as text for people, a heap block; NULL: see *code. */
static char *fetch(int fd, enum ctl_exit *code)
{
	struct ctl_reply reply = {0};
	char *text = NULL;

	*code = ctl_request(fd, "GET", path, NULL, &reply);
	if (*code == CTL_EXIT_OK) {
		json_t *json =
			json_loads(reply.body != NULL ? reply.body : "", JSON_DECODE_ANY, NULL);

		text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL;
		json_decref(json);
		if (text == NULL) {
			*code = ctl_fail(CTL_EXIT_NO_CONNECTION, "The answer is no JSON", NULL);
		}
	}
	free(reply.body);
	return text;
}

static enum ctl_exit put(int fd, const char *text)
{
	struct ctl_reply reply = {0};
	enum ctl_exit code = ctl_request(fd, "PUT", path, text, &reply);

	free(reply.body);
	return code;
}

static enum ctl_exit show(int fd, const struct ctl_args *args)
{
	struct ctl_reply reply = {0};
	enum ctl_exit code = ctl_request(fd, "GET", path, NULL, &reply);

	if (code == CTL_EXIT_OK && reply.body != NULL) {
		ctl_print_body(reply.body, args->is_raw);
	}
	free(reply.body);
	return code;
}

static enum ctl_exit set(int fd, const char *word)
{
	AUTO_FREE char *body = NULL;
	struct error err = {0};

	if (ctl_read_body(word, &body, &err) < 0) {
		return ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	}
	return put(fd, body);
}

/* --- Editing --- */

static int write_text(const char *file, const char *text, struct error *err)
{
	FILE *out = fopen(file, "we");
	bool is_ok = out != NULL && fprintf(out, "%s\n", text) > 0;

	if (out != NULL && fclose(out) != 0) {
		is_ok = false;
	}
	return is_ok ? 0 : error_sys(err, "Cannot write %s", file);
}

/* The shell takes the editor's options apart. */
static int run_editor(const char *file, struct error *err)
{
	const char *editor = getenv("VISUAL") != NULL ? getenv("VISUAL") : getenv("EDITOR");
	AUTO_FREE char *command = NULL;
	int status;
	pid_t pid;

	editor = editor != NULL && *editor != '\0' ? editor : "vi";
	if (asprintf(&command, "%s \"$0\"", editor) < 0) {
		command = NULL;
		return error_set(err, ERR_HOST, "There is no memory for an editor");
	}
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, file, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		return error_sys(err, "Cannot start the editor");
	}
	return status == 0 ? 0
			   : error_set(err, ERR_BAD_REQUEST,
				       "The editor (%s) failed: nothing is changed", editor);
}

/* What the user made of the text in the file; *is_done: the file is of no more use. */
static enum ctl_exit edit_file(int fd, const char *file, const char *before, bool *is_done)
{
	AUTO_FREE char *edited = NULL;
	AUTO_FREE char *now = NULL;
	struct error err = {0};
	size_t len;

	if (write_text(file, before, &err) < 0 || run_editor(file, &err) < 0 ||
	    read_file(file, "The metadata", CTL_BODY_MAX, &edited, &len, &err) < 0) {
		return ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	}
	if (strlen(before) + 1 == len && strncmp(edited, before, len - 1) == 0) {
		*is_done = true;
		puts("not changed");
		return CTL_EXIT_OK;
	}
	enum ctl_exit code;

	now = fetch(fd, &code);
	if (now != NULL && strcmp(now, before) != 0) {
		code = ctl_fail(CTL_EXIT_REFUSED,
				"The metadata have changed meanwhile, so nothing is put", NULL);
	}
	if (code == CTL_EXIT_OK) {
		code = put(fd, edited);
	}
	*is_done = code == CTL_EXIT_OK;
	if (*is_done) {
		puts("changed");
	}
	return code;
}

static enum ctl_exit edit(int fd)
{
	const char *folder = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
	enum ctl_exit code;
	AUTO_FREE char *before = fetch(fd, &code);
	AUTO_FREE char *file = NULL;
	bool is_done = false;

	if (before == NULL) {
		return code;
	}
	/* For its owner alone: metadata may be secret. */
	if (asprintf(&file, "%s/squibctl-XXXXXX.json", folder) < 0) {
		file = NULL;
		return ctl_fail(CTL_EXIT_USAGE, "There is no memory for a file's name", NULL);
	}
	AUTO_FD made = mkstemps(file, (int)strlen(".json"));

	if (made < 0) {
		return ctl_fail(CTL_EXIT_USAGE, "Cannot make a temporary file: see TMPDIR", NULL);
	}
	code = edit_file(fd, file, before, &is_done);
	if (is_done) {
		unlink(file);
	} else {
		fprintf(stderr, "squibctl: what was edited is in %s\n", file);
	}
	return code;
}

enum ctl_exit ctl_metadata_run(int fd, const struct ctl_args *args)
{
	const char *what = args->operands[0];

	if (strcmp(what, "set") == 0) {
		return set(fd, args->operands[1]);
	}
	return strcmp(what, "edit") == 0 ? edit(fd) : show(fd, args);
}
