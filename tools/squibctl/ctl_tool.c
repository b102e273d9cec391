/* SPDX-License-Identifier: Apache-2.0 */
/* Runs programs; small work on files. */
#include "tools/squibctl/ctl_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/lib/output.h"
#include "tools/lib/progress.h"
#include "vmm/base/fd.h"

enum {
	LOOK_MS = 1000,
	BLOCK = 512, /* of st_blocks */
	LAST_BYTES = 2000,
	LAST_WORDS = 400,
	LAST_LINES = 2,
	NOT_FOUND = 127,
	OWNER_ONLY = 0700,
};

char *ctl_text(const char *fmt, ...)
{
	char *text;
	va_list args;

	va_start(args, fmt);
	int len = vasprintf(&text, fmt, args);

	va_end(args);
	return len >= 0 ? text : NULL;
}

char *ctl_home(const char *variable, const char *fallback)
{
	const char *own = getenv(variable);
	const char *home = getenv("HOME");

	if (own != NULL && own[0] == '/') {
		return ctl_text("%s/squib", own);
	}
	return ctl_text("%s/%s/squib", home != NULL ? home : "", fallback);
}

/* --- files --- */

int ctl_make_dir(const char *path, struct error *err)
{
	AUTO_FREE char *parent = strdup(path);

	if (parent == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	for (char *at = strchr(parent + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
		*at = '\0';
		(void)!mkdir(parent, OWNER_ONLY);
		*at = '/';
	}
	return mkdir(path, OWNER_ONLY) == 0 || errno == EEXIST
		       ? 0
		       : error_sys(err, "Cannot make the directory %s", path);
}

void ctl_remove_tree(const char *path)
{
	char *const paths[] = {(char *)path, NULL};
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	const FTSENT *entry;

	while (tree != NULL && (entry = fts_read(tree)) != NULL) {
		if (entry->fts_info == FTS_D) {
			/* An image may have some that their owner can't write to. */
			(void)!chmod(entry->fts_accpath, OWNER_ONLY);
		} else if (entry->fts_info == FTS_DP) {
			rmdir(entry->fts_accpath);
		} else {
			unlink(entry->fts_accpath);
		}
	}
	if (tree != NULL) {
		fts_close(tree);
	}
}

int ctl_write_file(const char *path, const void *data, size_t len, struct error *err)
{
	const char *const inputs[] = {NULL};
	struct output output;

	if (output_open(&output, path, inputs, err) < 0) {
		return -1;
	}
	int done = output_fill(&output, data, len, err);

	if (done == 0) {
		done = output_commit(&output, err);
	}
	output_discard(&output);
	return done;
}

/* --- programs --- */

static uint64_t size_of(const char *path)
{
	char *const paths[] = {(char *)path, NULL};
	FTS *tree = path != NULL ? fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL) : NULL;
	uint64_t size = 0;
	const FTSENT *entry;

	while (tree != NULL && (entry = fts_read(tree)) != NULL) {
		if (entry->fts_info == FTS_F) {
			size += (uint64_t)entry->fts_statp->st_blocks * BLOCK;
		}
	}
	if (tree != NULL) {
		fts_close(tree);
	}
	return size;
}

static _Noreturn void be_tool(const struct ctl_tool *tool, int errors)
{
	AUTO_FREE char *path = ctl_text("%s:/usr/sbin:/sbin", getenv("PATH"));
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (path != NULL && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
	    dup2(null, STDOUT_FILENO) >= 0 && dup2(errors, STDERR_FILENO) >= 0 &&
	    setenv("PATH", path, 1) == 0) {
		execvp(tool->argv[0], (char *const *)tool->argv);
	}
	_exit(errno == ENOENT ? NOT_FOUND : 1);
}

static int wait_for(const struct ctl_tool *tool, pid_t pid)
{
	AUTO_FD end = pidfd_open(pid, 0);
	struct pollfd ends = {.fd = end, .events = POLLIN};
	struct progress progress;
	int status = 0;

	progress_begin(&progress, tool->what, 0);
	while (end >= 0 && poll(&ends, 1, LOOK_MS) <= 0) {
		progress_set(&progress, progress.is_terminal ? size_of(tool->grows) : 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	progress_end(&progress);
	return status;
}

/* The last lines that are not empty, as one, in the end of `text`. */
static const char *last_lines(char *text)
{
	size_t at = strlen(text);
	unsigned lines = 0;
	bool is_line = false;

	/* Blanks of all kinds at the end, and then what is before the first line that we want. */
	while (at > 0 && (uint8_t)text[at - 1] <= ' ') {
		text[--at] = '\0';
	}
	for (; at > 0; at--) {
		char byte = text[at - 1];

		if ((byte == '\n' || byte == '\r') && is_line && ++lines == LAST_LINES) {
			break;
		}
		is_line = byte == '\n' || byte == '\r' ? false : is_line || (uint8_t)byte > ' ';
		text[at - 1] = (char)((uint8_t)byte < ' ' || byte == 0x7f ? ' ' : byte);
	}
	return text + at + strspn(text + at, " ");
}

int ctl_tool_run(const struct ctl_tool *tool, struct error *err)
{
	AUTO_FD errors = memfd_create("errors", MFD_CLOEXEC);
	char text[LAST_BYTES + 1] = "";
	struct stat st;
	pid_t pid = errors >= 0 ? fork() : -1;

	if (pid < 0) {
		return error_sys(err, "Cannot run %s", tool->argv[0]);
	}
	if (pid == 0) {
		be_tool(tool, errors);
	}
	int status = wait_for(tool, pid);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		return 0;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND) {
		return error_set(err, ERR_NOT_SUPPORTED, "%s is missing: install the package %s",
				 tool->argv[0], tool->package);
	}
	if (fstat(errors, &st) == 0) {
		off_t from = st.st_size > LAST_BYTES ? st.st_size - LAST_BYTES : 0;

		(void)!pread(errors, text, LAST_BYTES, from);
	}
	const char *words = last_lines(text);
	size_t len = strlen(words);

	if (len == 0) {
		return error_set(err, ERR_HOST, "%s has failed, and has not said why",
				 tool->argv[0]);
	}
	/* The reason is what a tool says last. */
	return error_set(err, ERR_HOST, "%s has failed: %s%s", tool->argv[0],
			 len > LAST_WORDS ? "..." : "",
			 words + (len > LAST_WORDS ? len - LAST_WORDS : 0));
}
