/* SPDX-License-Identifier: Apache-2.0 */
/* The real binary under test. */
#include "tests/lib/squib.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/api_client.h"

enum {
	ARGS_MAX = 32,
	BODY_LEN = 4096,
	SHOWN_MAX = 3000,
	LOOK_MIN_MS = 2, /* between two looks at the console, which cost an emulated CPU much */
	LOOK_MAX_MS = 100,
};

#define SOCKET "api.sock"

static const char *const text_files[SQUIB_TEXTS] = {[SQUIB_OUT] = "out", [SQUIB_LOG] = "log"};

bool squib_init(struct squib *squib, unsigned timeout_s)
{
	memset(squib, 0, sizeof(*squib));
	squib->in = squib->out = squib->typing = squib->api = -1;
	squib->status = -1;
	squib->deadline_ms = now_ms() + timeout_s * 1000ull;
	const char *base = env("TMPDIR");

	snprintf(squib->dir, sizeof(squib->dir), "%.40s/squib-test-XXXXXX",
		 base[0] != '\0' ? base : "/tmp");
	return mkdtemp(squib->dir) != NULL || squib_fail(squib, "no temporary directory");
}

static void close_fd(int *fd)
{
	if (*fd >= 0) {
		close(*fd);
		*fd = -1;
	}
}

void squib_destroy(struct squib *squib)
{
	squib_stop(squib);
	close_fd(&squib->in);
	close_fd(&squib->out);
	close_fd(&squib->typing);
	DIR *dir = opendir(squib->dir);

	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir != NULL) {
		closedir(dir);
	}
	rmdir(squib->dir);
}

bool squib_fail(struct squib *squib, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (squib->failure[0] == '\0') {
		vsnprintf(squib->failure, sizeof(squib->failure), fmt, args);
	}
	va_end(args);
	return false;
}

/* --- its life --- */

bool squib_open_console(struct squib *squib)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		return squib_fail(squib, "no pipe");
	}
	close_fd(&squib->in);
	close_fd(&squib->typing);
	squib->in = ends[0];
	squib->typing = ends[1];
	return true;
}

bool squib_become(const struct squib *squib)
{
	return squib->user == 0 || (setgroups(0, NULL) == 0 &&
				    setresgid(squib->group, squib->group, squib->group) == 0 &&
				    setresuid(squib->user, squib->user, squib->user) == 0);
}

__attribute__((noreturn)) static void exec_squib(const struct squib *squib, const char *const *args)
{
	const char *argv[ARGS_MAX + 2] = {env("SQUIB")};

	for (size_t i = 0; args[i] != NULL && i < ARGS_MAX; i++) {
		argv[i + 1] = args[i];
	}
	signal(SIGPIPE, SIG_DFL);
	/* Another user is a reason for the kernel to forget PR_SET_PDEATHSIG. */
	if (!squib_become(squib) || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || chdir(squib->dir) < 0) {
		_exit(127);
	}
	int in = squib->in >= 0 ? squib->in : open("/dev/null", O_RDONLY | O_CLOEXEC);
	int out = squib->out >= 0 ? squib->out
				  : open("out", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(out, STDERR_FILENO) < 0) {
		_exit(127);
	}
	execv(argv[0], (char *const *)argv);
	dprintf(STDERR_FILENO, "cannot execute %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

bool squib_start(struct squib *squib, const char *const *args)
{
	pid_t pid = fork();

	if (pid == 0) {
		exec_squib(squib, args);
	}
	close_fd(&squib->in);
	close_fd(&squib->out);
	squib->pid = pid > 0 ? pid : 0;
	squib->status = -1;
	return pid > 0 || squib_fail(squib, "cannot fork");
}

/* Starts it with an API, and connects to that. */
static bool serve(struct squib *squib, const char *const *more)
{
	const char *args[ARGS_MAX + 1] = {"--api-sock", SOCKET, "--log-path", "log"};
	char path[PATH_LEN];

	size_t count = 4;

	if (squib->flag != NULL) {
		args[count++] = squib->flag;
	}
	for (; more != NULL && *more != NULL && count < ARGS_MAX; more++) {
		args[count++] = *more;
	}
	squib_path(squib, SOCKET, path);
	unlink(path);
	if ((squib->in < 0 && !squib_open_console(squib)) || !squib_start(squib, args)) {
		return false;
	}
	squib->api = api_connect(path, PATIENCE_MS);
	return squib->api >= 0 || squib_fail(squib, "squib does not listen");
}

bool squib_serve(struct squib *squib, const char *const *more)
{
	char path[PATH_LEN];

	for (size_t i = 0; i < sizeof(text_files) / sizeof(text_files[0]); i++) {
		squib_path(squib, text_files[i], path);
		unlink(path);
	}
	memset(squib->matched, 0, sizeof(squib->matched));
	return serve(squib, more);
}

bool squib_replace(struct squib *squib, const char *const *more)
{
	squib_stop(squib);
	return serve(squib, more);
}

bool squib_wait(struct squib *squib, unsigned timeout_ms, int *status)
{
	int wait_status;

	if (squib->pid == 0) {
		return false;
	}
	struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, squib->pid, 0), .events = POLLIN};
	uint64_t until = now_ms() + timeout_ms;
	pid_t ended = poll(&end, 1, (int)timeout_ms) > 0 ? 0 : -1;

	close(end.fd);
	/* One that is traced is its parent's only once the tracer has seen its end. */
	while (ended == 0 && (ended = waitpid(squib->pid, &wait_status, WNOHANG)) == 0 &&
	       now_ms() < until) {
		sleep_ms(1);
	}
	if (ended != squib->pid) {
		return false;
	}
	squib->pid = 0;
	squib->status = *status = exit_of(wait_status);
	return true;
}

bool squib_ends(struct squib *squib, int status)
{
	/* Or it was seen to end while the console was waited for. */
	if (squib->pid != 0 && !squib_wait(squib, PATIENCE_MS, &squib->status)) {
		return squib_fail(squib, "squib does not end");
	}
	return squib->status == status ||
	       squib_fail(squib, "exit status %d in place of %d", squib->status, status);
}

void squib_stop(struct squib *squib)
{
	if (squib->pid > 0) {
		kill(squib->pid, SIGKILL);
		waitpid(squib->pid, NULL, 0);
		squib->pid = 0;
	}
	close_fd(&squib->api);
}

/* --- its API --- */

bool squib_owns(const struct squib *squib, pid_t pid)
{
	char path[PATH_LEN];
	char cwd[PATH_LEN];

	snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	ssize_t len = readlink(path, cwd, sizeof(cwd) - 1);

	cwd[len > 0 ? len : 0] = '\0';
	return strcmp(cwd, squib->dir) == 0;
}

/* Appends to the output, which is shown with a failure, what the threads of a process wait for. */
static void tell_threads(const struct squib *squib, pid_t pid)
{
	char command[4 * PATH_LEN];

	snprintf(command, sizeof(command),
		 "cd /proc/%d/task && for t in *; do echo \"thread $t of %d: $(cat $t/comm), in "
		 "$(cat $t/wchan), system call $(cat $t/syscall)\"; done >>%s/out 2>&1",
		 pid, pid, squib->dir);
	(void)!system(command);
}

/* An answer of 0: there was none. */
static void tell_silence(const struct squib *squib, unsigned answer)
{
	DIR *proc = answer == 0 ? opendir("/proc") : NULL;

	for (struct dirent *entry; proc != NULL && (entry = readdir(proc)) != NULL;) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && squib_owns(squib, pid)) {
			tell_threads(squib, pid);
		}
	}
	if (proc != NULL) {
		closedir(proc);
	}
}

bool squib_api(struct squib *squib, unsigned status, const char *method, const char *path,
	       const char *fmt, ...)
{
	char body[BODY_LEN];
	va_list args;

	va_start(args, fmt);
	int body_len = vsnprintf(body, sizeof(body), fmt, args);

	va_end(args);
	unsigned seen = api_ask(squib->api, method, path, body_len > 0 ? body : NULL, squib->answer,
				sizeof(squib->answer), PATIENCE_MS);

	tell_silence(squib, seen);
	return seen == status ||
	       squib_fail(squib, "%s %s is answered %u: %.300s", method, path, seen, squib->answer);
}

bool squib_child(struct squib *squib, const char *child, unsigned status, const char *method,
		 const char *path, const char *body)
{
	char file[64];
	char socket[PATH_LEN];

	snprintf(file, sizeof(file), "%.50s.sock", child);
	squib_path(squib, file, socket);
	int fd = api_connect(socket, PATIENCE_MS);
	unsigned seen = 0;

	if (fd >= 0) {
		seen = api_ask(fd, method, path, body, squib->answer, sizeof(squib->answer),
			       PATIENCE_MS);
		close(fd);
	}
	tell_silence(squib, seen);
	return seen == status || squib_fail(squib, "%s: %s %s is answered %u: %.200s", child,
					    method, path, seen, squib->answer);
}

bool squib_api_start(struct squib *squib, unsigned status)
{
	return squib_api(squib, status, "PUT", "/actions", "{\"action_type\": \"InstanceStart\"}");
}

long squib_answer_number(const struct squib *squib, const char *name)
{
	char key[64];

	snprintf(key, sizeof(key), "\"%s\":", name);
	const char *at = strstr(squib->answer, key);

	return at != NULL ? strtol(at + strlen(key), NULL, 10) : -1;
}

/* --- its console --- */

/* Whether a text is there by now; with `rest`, its line must be whole. */
static bool find_in(struct squib *squib, unsigned file, const char *text, char *rest)
{
	char *content = squib_text(squib, text_files[file]);

	if (content == NULL) {
		return false;
	}
	char *wrong = file == SQUIB_OUT ? strstr(content, "WRONG:") : NULL;
	char *at = strlen(content) >= squib->matched[file]
			   ? strstr(content + squib->matched[file], text)
			   : NULL;
	bool is_found = at != NULL && (rest == NULL || strchr(at, '\n') != NULL);

	if (wrong != NULL && strchr(wrong, '\n') != NULL) {
		squib_fail(squib, "the guest: %.*s", (int)strcspn(wrong, "\r\n"), wrong);
		is_found = false;
	} else if (is_found) {
		at += strlen(text);
		squib->matched[file] = (size_t)(at - content);
		if (rest != NULL) {
			snprintf(rest, MESSAGE_LEN, "%.*s", (int)strcspn(at, "\r\n"), at);
		}
	}
	free(content);
	return is_found;
}

static bool find(struct squib *squib, const char *text, char *rest)
{
	for (unsigned file = 0; file < SQUIB_TEXTS && squib->failure[0] == '\0'; file++) {
		if (find_in(squib, file, text, rest)) {
			return true;
		}
	}
	return false;
}

bool squib_expect(struct squib *squib, const char *text, char rest[MESSAGE_LEN])
{
	unsigned wait_ms = LOOK_MIN_MS;

	while (!find(squib, text, rest)) {
		if (squib->failure[0] != '\0') {
			return false;
		}
		if (now_ms() > squib->deadline_ms) {
			return squib_fail(squib, "timed out waiting for \"%s\"", text);
		}
		if (squib->pid == 0 || squib_wait(squib, wait_ms, &squib->status)) {
			return find(squib, text, rest) ||
			       squib_fail(squib, "squib ended (%d) without \"%s\"", squib->status,
					  text);
		}
		wait_ms = wait_ms < LOOK_MAX_MS / 2 ? wait_ms * 2 : LOOK_MAX_MS;
	}
	return true;
}

bool squib_says(const struct squib *squib, const char *text)
{
	char *console = squib_text(squib, "out");
	bool has = console != NULL && strstr(console, text) != NULL;

	free(console);
	return has;
}

bool squib_type(struct squib *squib, const char *text)
{
	ssize_t len = (ssize_t)strlen(text);

	return write(squib->typing, text, (size_t)len) == len ||
	       squib_fail(squib, "cannot type \"%s\"", text);
}

bool squib_ask(struct squib *squib, const char *line, const char *text)
{
	return squib_type(squib, line) && squib_expect(squib, text, NULL);
}

/* --- files of its directory --- */

void squib_path(const struct squib *squib, const char *name, char path[PATH_LEN])
{
	snprintf(path, PATH_LEN, "%.300s/%.200s", squib->dir, name);
}

char *squib_file(const struct squib *squib, const char *name, size_t *len)
{
	char path[PATH_LEN];

	squib_path(squib, name, path);
	FILE *file = fopen(path, "re");

	if (file == NULL) {
		return NULL;
	}
	fseek(file, 0, SEEK_END);
	long size = ftell(file);
	char *content = size >= 0 ? malloc((size_t)size + 1) : NULL;

	rewind(file);
	if (content != NULL) {
		*len = fread(content, 1, (size_t)size, file);
		content[*len] = '\0';
	}
	fclose(file);
	return content;
}

char *squib_text(const struct squib *squib, const char *name)
{
	size_t len = 0;
	char *text = squib_file(squib, name, &len);

	for (size_t i = 0; i < len; i++) {
		text[i] = text[i] == '\0' ? '?' : text[i];
	}
	return text;
}

bool squib_write(struct squib *squib, const char *name, const char *content)
{
	char path[PATH_LEN];

	squib_path(squib, name, path);
	FILE *file = fopen(path, "we");
	bool is_ok = file != NULL && fputs(content, file) >= 0;

	is_ok = (file == NULL || fclose(file) == 0) && is_ok;
	return is_ok || squib_fail(squib, "cannot write %s", path);
}

void squib_show(const struct squib *squib, const char *name)
{
	char *text = squib_text(squib, name);
	size_t len = text != NULL ? strlen(text) : 0;

	if (text != NULL) {
		printf("--- its %s ends:\n%s\n", name,
		       text + (len > SHOWN_MAX ? len - SHOWN_MAX : 0));
	}
	free(text);
}
