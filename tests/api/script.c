/* SPDX-License-Identifier: Apache-2.0 */
/* Plays the steps of a file of vectors. */
#include "tests/api/script.h"

#include <ctype.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/api_client.h"
#include "tests/lib/runner.h"

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	SILENCE_MS = 100,
	ARGS_MAX = 30
};

bool script_fail(struct script *script, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(script->failure, sizeof(script->failure), fmt, args);
	va_end(args);
	return false;
}

static bool expand(struct script *script, const char *rest, bool has_escapes)
{
	const char *wrong = text_expand(rest, script->squib.dir, has_escapes, &script->text);

	return wrong == NULL || script_fail(script, "%s", wrong);
}

/* --- connections --- */

static void drop(struct script *script)
{
	int *fd = &script->connections[script->current];

	if (*fd >= 0) {
		close(*fd);
		*fd = -1;
	}
}

static int connected(struct script *script)
{
	int *fd = &script->connections[script->current];
	char path[PATH_LEN];

	if (*fd < 0) {
		squib_path(&script->squib, "api.sock", path);
		*fd = api_connect(path, script->squib.pid > 0 ? PATIENCE_MS : 0);
		if (*fd < 0) {
			script_fail(script, "cannot connect");
		}
	}
	return *fd;
}

static bool send_bytes(struct script *script, const char *data, size_t len)
{
	int fd = connected(script);

	if (fd < 0) {
		return false;
	}
	script->is_sent = api_send(fd, data, len, PATIENCE_MS);
	return script->is_sent || script_fail(script, "cannot send");
}

static bool differs(struct script *script, const struct text *expected, const char *got, size_t len)
{
	char left[TEXT_SHOWN];
	char right[TEXT_SHOWN];

	text_show(expected->at, expected->len, left);
	text_show(got, len, right);
	return script_fail(script, "expected %s\n      got      %s", left, right);
}

/* --- steps that are not vectors --- */

static bool do_on(struct script *script, const char *rest)
{
	script->current = (unsigned)strtoul(rest, NULL, 10) % CONNECTIONS;
	return true;
}

static bool do_needs(struct script *script, const char *rest)
{
	if (strcmp(rest, "landlock") == 0) {
		script->needs_landlock = true;
		return true;
	}
	if (strcmp(rest, "tap") == 0) {
		script->lacks_tap = unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", W_OK) < 0;
		return true;
	}
	script->needs = strcmp(rest, "payload") == 0 ? KVM_PAYLOAD
			: strcmp(rest, "linux") == 0 ? KVM_LINUX
						     : KVM_NONE;
	return true;
}

static bool do_arch(struct script *script, const char *rest)
{
	snprintf(script->arch, sizeof(script->arch), "%s", rest);
	return true;
}

static void close_all(struct script *script)
{
	for (script->current = CONNECTIONS; script->current-- > 0;) {
		drop(script);
	}
	script->current = 0;
}

static bool start(struct script *script, const char *rest)
{
	char socket[PATH_LEN];
	const char *args[ARGS_MAX + 1] = {NULL};
	size_t count = 0;

	if (!expand(script, rest, false)) {
		return false;
	}
	squib_path(&script->squib, "api.sock", socket);
	if (strstr(script->text.at, "--no-api") == NULL &&
	    strstr(script->text.at, "--api-sock") == NULL) {
		args[count++] = "--api-sock";
		args[count++] = socket;
	}
	for (char *arg = strtok(script->text.at, " "); arg != NULL && count < ARGS_MAX;
	     arg = strtok(NULL, " ")) {
		args[count++] = arg;
	}
	return squib_start(&script->squib, args) || script_fail(script, "cannot fork");
}

static bool do_again(struct script *script, const char *rest)
{
	close_all(script);
	squib_stop(&script->squib);
	return start(script, rest);
}

static bool do_process(struct script *script, const char *rest)
{
	close_all(script);
	if (script->is_open) {
		squib_destroy(&script->squib);
	}
	script->is_open = squib_init(&script->squib, 0);
	script->seen_out = 0;
	script->seen_log = 0;
	if (!script->is_open) {
		return script_fail(script, "no temporary directory");
	}
	/* Files of a later process can be laid out first. */
	return strcmp(rest, "none") == 0 || start(script, rest);
}

static bool do_remove(struct script *script, const char *rest)
{
	char path[PATH_LEN];

	squib_path(&script->squib, rest, path);
	return unlink(path) == 0 || script_fail(script, "cannot remove %s", path);
}

static bool do_file(struct script *script, const char *rest)
{
	char path[PATH_LEN];
	size_t name_len = strcspn(rest, " ");

	snprintf(path, sizeof(path), "%.300s/%.*s", script->squib.dir, (int)name_len, rest);
	rest += name_len;
	if (!expand(script, *rest == ' ' ? rest + 1 : rest, true)) {
		return false;
	}
	FILE *file = fopen(path, "we");
	bool ok = file != NULL &&
		  fwrite(script->text.at, 1, script->text.len, file) == script->text.len;

	if (file != NULL) {
		fclose(file);
	}
	return ok || script_fail(script, "cannot write %s", path);
}

static bool do_send(struct script *script, const char *rest)
{
	snprintf(script->request, sizeof(script->request), "send %.1900s", rest);
	return expand(script, rest, true) && send_bytes(script, script->text.at, script->text.len);
}

static bool do_sleep(struct script *script, const char *rest)
{
	(void)script;
	sleep_ms((unsigned)strtoul(rest, NULL, 10));
	return true;
}

static bool do_signal(struct script *script, const char *rest)
{
	return (script->squib.pid > 0 &&
		kill(script->squib.pid, (int)strtol(rest, NULL, 10)) == 0) ||
	       script_fail(script, "there is no process to signal");
}

/* --- vectors --- */

static bool do_recv(struct script *script, const char *rest)
{
	bool is_closed;
	int fd = connected(script);

	if (fd < 0 || !expand(script, rest, true)) {
		return false;
	}
	struct text *got = &script->other;

	got->len = api_read(fd, got->at, script->text.len, PATIENCE_MS, &is_closed);
	return text_matches(&script->text, got->at, got->len) ||
	       differs(script, &script->text, got->at, got->len);
}

/* Nothing more comes, and the server closes: of itself, or after us. */
static bool ends(struct script *script)
{
	char byte;
	bool is_closed;
	int fd = connected(script);

	if (fd < 0) {
		return false;
	}
	size_t got = api_read(fd, &byte, 1, PATIENCE_MS, &is_closed);

	drop(script);
	if (got > 0) {
		return script_fail(script, "got more bytes");
	}
	return is_closed || script_fail(script, "the server does not close");
}

static bool do_gone(struct script *script, const char *rest)
{
	(void)rest;
	return ends(script);
}

static bool do_close(struct script *script, const char *rest)
{
	int fd = connected(script);

	(void)rest;
	if (fd >= 0) {
		shutdown(fd, SHUT_WR);
	}
	return fd >= 0 && ends(script);
}

static bool do_silent(struct script *script, const char *rest)
{
	char byte;
	bool is_closed;
	int fd = connected(script);

	(void)rest;
	if (fd < 0) {
		return false;
	}
	if (api_read(fd, &byte, 1, SILENCE_MS, &is_closed) > 0) {
		return script_fail(script, "got bytes");
	}
	return !is_closed || script_fail(script, "the server has closed");
}

static size_t *seen_in(struct script *script, const char *file)
{
	return strcmp(file, "log") == 0 ? &script->seen_log : &script->seen_out;
}

/* The file's name into `name`; the pattern into script->text. */
static bool split_file(struct script *script, const char *rest, char name[PATH_LEN])
{
	size_t name_len = strcspn(rest, " ");

	snprintf(name, PATH_LEN, "%.*s", (int)name_len, rest);
	rest += name_len;
	return expand(script, *rest == ' ' ? rest + 1 : rest, false);
}

/* Whether a line of the log begins here. */
static bool is_log_line(const char *text, size_t len)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd.";
	size_t i = 0;

	while (i < len && shape[i] != '\0' &&
	       (shape[i] == 'd' ? isdigit((unsigned char)text[i]) != 0 : text[i] == shape[i])) {
		i++;
	}
	return shape[i] == '\0';
}

/*
 * Finds the pattern in what the guest wrote to standard output. A guest writes byte by byte, so
 * lines of the log come amid its own: these are passed over. As text_find.
 */
static size_t find_in_console(const struct text *pattern, const char *content, size_t len)
{
	char *text = malloc(len + 1);
	size_t *from = malloc((len + 1) * sizeof(*from)); /* where each byte of `text` was */
	size_t kept = 0;
	size_t end = 0;

	for (size_t i = 0; text != NULL && from != NULL && i < len;) {
		if (i > 0 && content[i - 1] != '\n' && is_log_line(content + i, len - i)) {
			const char *newline = memchr(content + i, '\n', len - i);

			i = newline != NULL ? (size_t)(newline - content) + 1 : len;
			continue;
		}
		from[kept] = i;
		text[kept++] = content[i++];
	}
	if (kept > 0) {
		end = text_find(pattern, text, kept);
		end = end > 0 ? from[end - 1] + 1 : 0;
	}
	free(text);
	free(from);
	return end;
}

static bool do_sees(struct script *script, const char *rest)
{
	uint64_t deadline = now_ms() + PATIENCE_MS;
	char name[PATH_LEN];

	if (!split_file(script, rest, name)) {
		return false;
	}
	for (;;) {
		size_t len = 0;
		size_t *seen = seen_in(script, name);
		char *content = squib_file(&script->squib, name, &len);
		size_t end = content != NULL && *seen < len
				     ? text_find(&script->text, content + *seen, len - *seen)
				     : 0;

		if (end == 0 && content != NULL && *seen < len) {
			end = find_in_console(&script->text, content + *seen, len - *seen);
		}
		bool is_over = end == 0 && now_ms() > deadline;

		if (is_over) {
			size_t tail = len > 1000 ? len - 1000 : 0;

			differs(script, &script->text, content != NULL ? content + tail : "",
				len - tail);
		}
		free(content);
		*seen += end;
		if (end > 0 || is_over) {
			return end > 0;
		}
		sleep_ms(10);
	}
}

static bool do_lacks(struct script *script, const char *rest)
{
	size_t len = 0;
	char name[PATH_LEN];

	if (!split_file(script, rest, name)) {
		return false;
	}
	char *content = squib_file(&script->squib, name, &len);
	bool has = content != NULL && text_find(&script->text, content, len) > 0;

	free(content);
	return !has || script_fail(script, "%s has it", name);
}

static bool do_exit(struct script *script, const char *rest)
{
	int expected = (int)strtol(rest, NULL, 10);
	int got;

	if (!squib_wait(&script->squib, PATIENCE_MS, &got)) {
		return script_fail(script, "the process does not end");
	}
	return got == expected || script_fail(script, "exit %d in place of %d", got, expected);
}

static bool do_alive(struct script *script, const char *rest)
{
	int got;

	(void)rest;
	return (script->squib.pid > 0 && !squib_wait(&script->squib, 0, &got)) ||
	       script_fail(script, "the process is gone");
}

/* --- requests and answers --- */

static bool is_request(const char *line)
{
	static const char *const methods[] = {"GET ", "PUT ", "PATCH ", "DELETE "};

	for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
		if (strncmp(line, methods[i], strlen(methods[i])) == 0) {
			return true;
		}
	}
	return false;
}

static bool request(struct script *script, char *line, bool has_escapes)
{
	char *path = strchr(line, ' ') + 1;
	char *body = strchr(path, ' ');

	snprintf(script->request, sizeof(script->request), "%.1900s", line);
	path[-1] = '\0';
	if (body != NULL) {
		*body++ = '\0';
	}
	if (!expand(script, body != NULL ? body : "", has_escapes)) {
		return false;
	}
	script->other.len =
		api_format_request(script->other.at, TEXT_MAX, line, path,
				   body != NULL ? script->text.at : NULL, script->text.len);
	return send_bytes(script, script->other.at, script->other.len);
}

/* "STATUS [deprecated] [BODY]" */
static bool answer(struct script *script, const char *line, bool has_escapes)
{
	static char got[TEXT_MAX];
	static const char deprecated[] = " deprecated";
	unsigned status = (unsigned)strtoul(line, NULL, 10);
	const char *rest = line + 3;
	bool is_deprecated = strncmp(rest, deprecated, strlen(deprecated)) == 0;
	bool is_whole;

	rest += is_deprecated ? strlen(deprecated) : 0;
	bool has_body = *rest == ' ';

	if (!script->is_sent) {
		return false; /* the request has failed and said why */
	}
	script->is_sent = false;
	if (!expand(script, has_body ? rest + 1 : "", has_escapes) ||
	    !config_expand(script, &script->text)) {
		return false;
	}
	size_t len = api_receive(connected(script), got, sizeof(got), PATIENCE_MS, &is_whole);
	const char *head_end = memmem(got, len, "\r\n\r\n", 4);
	size_t head_len = head_end != NULL ? (size_t)(head_end - got) + 4 : len;
	struct text *expected = &script->other;
	/* The length of a body that may vary is the one that came. */
	size_t body_len = text_has_wildcard(&script->text) ? len - head_len : script->text.len;

	expected->len = api_format_answer(expected->at, TEXT_MAX, status, is_deprecated,
					  has_body ? script->text.at : NULL, 0);
	if (has_body) {
		char number[32];
		char *zero = strstr(expected->at, "Content-Length: 0");

		snprintf(number, sizeof(number), "%zu\r\n\r\n", body_len);
		expected->len =
			(size_t)(stpcpy(zero + strlen("Content-Length: "), number) - expected->at);
		memcpy(expected->at + expected->len, script->text.at, script->text.len + 1);
		expected->len += script->text.len;
	}
	if (is_whole && text_matches(expected, got, len)) {
		return true;
	}
	drop(script);
	return differs(script, expected, got, len);
}

static const struct {
	const char *name;
	bool (*run)(struct script *script, const char *rest);
	bool is_vector;
} steps[] = {
	{"process", do_process, false},	 {"again", do_again, false},
	{"file", do_file, false},	 {"on", do_on, false},
	{"send", do_send, false},	 {"sleep", do_sleep, false},
	{"signal", do_signal, false},	 {"recv", do_recv, true},
	{"gone", do_gone, true},	 {"close", do_close, true},
	{"silent", do_silent, true},	 {"sees", do_sees, true},
	{"lacks", do_lacks, true},	 {"exit", do_exit, true},
	{"alive", do_alive, true},	 {"lines", metrics_lines, true},
	{"metric", metrics_value, true}, {"remove", do_remove, false},
};

/* These hold wherever the file runs. */
static bool condition(struct script *script, const char *line)
{
	if (strncmp(line, "needs ", 6) == 0) {
		return do_needs(script, line + 6);
	}
	return strncmp(line, "arch ", 5) == 0 && do_arch(script, line + 5);
}

static bool is_other_arch(const struct script *script)
{
	return strcmp(script->arch, "any") != 0 &&
	       strcmp(script->arch, is_x86() ? "x86_64" : "aarch64") != 0;
}

const char *script_why_skipped(const struct script *script)
{
	if (script->needs_landlock &&
	    syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1) {
		return "landlock";
	}
	if (script->lacks_tap) {
		return "tap";
	}
	return env_kvm_kind() < script->needs ? runner_kvm_name(script->needs) : NULL;
}

enum step_result script_step(struct script *script, char *line)
{
	bool has_escapes = line[0] == '~';
	size_t i = 0;

	if (condition(script, line) || is_other_arch(script)) {
		return STEP_DONE;
	}
	line += has_escapes;
	size_t word = strcspn(line, " ");
	const char *rest = line[word] == ' ' ? line + word + 1 : line + word;
	bool is_answer = isdigit((unsigned char)line[0]);

	while (i < ARRAY_COUNT(steps) &&
	       (strlen(steps[i].name) != word || strncmp(steps[i].name, line, word) != 0)) {
		i++;
	}
	bool is_vector = is_answer || (i < ARRAY_COUNT(steps) && steps[i].is_vector);

	if (script_why_skipped(script) != NULL) {
		return is_vector ? STEP_SKIPPED : STEP_DONE;
	}
	bool ok = is_answer		   ? answer(script, line, has_escapes)
		  : is_request(line)	   ? request(script, line, has_escapes)
		  : i < ARRAY_COUNT(steps) ? steps[i].run(script, rest)
					   : script_fail(script, "not a step: %s", line);

	/* A request that fails is told by its answer, if there is one to come. */
	if (!is_vector) {
		return ok || is_request(line) ? STEP_DONE : STEP_FAILED;
	}
	return ok ? STEP_PASSED : STEP_FAILED;
}

void script_init(struct script *script)
{
	memset(script, 0, sizeof(*script));
	snprintf(script->arch, sizeof(script->arch), "any");
	for (size_t i = 0; i < CONNECTIONS; i++) {
		script->connections[i] = -1;
	}
}

void script_destroy(struct script *script)
{
	close_all(script);
	if (script->is_open) {
		squib_destroy(&script->squib);
	}
}
