/* SPDX-License-Identifier: Apache-2.0 */
/* Runs all registered tests, or the one that is named as SUITE::NAME, each in a child; see
 * criterion/criterion.h here. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EXIT_SKIPPED = 77
};

enum result {
	PASSED,
	SKIPPED,
	FAILED,
	RESULTS
};

static struct plain_test *tests;
static atomic_bool has_failed;

void plain_register(struct plain_test *test)
{
	test->next = tests;
	tests = test;
}

void plain_fail(bool is_fatal, const char *where, const char *what, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fprintf(stderr, "%s: %s:%s\n", where, what, text);
	atomic_store(&has_failed, true);
	if (is_fatal) {
		_exit(EXIT_FAILURE);
	}
}

void plain_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("skipped:", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	_exit(EXIT_SKIPPED);
}

/* A suite's init and fini hold for its tests that have none. */
static struct plain_options options_of(const struct plain_test *test)
{
	struct plain_options options = test->options;

	for (const struct plain_test *suite = tests; suite; suite = suite->next) {
		if (!suite->name && strcmp(suite->suite, test->suite) == 0) {
			options.init = options.init ? options.init : suite->options.init;
			options.fini = options.fini ? options.fini : suite->options.fini;
		}
	}
	return options;
}

static void run_child(const struct plain_test *test, const struct plain_options *options)
{
	alarm((unsigned)ceil(options->timeout));
	if (options->init) {
		options->init();
	}
	test->run();
	if (options->fini) {
		options->fini();
	}
	/* exit, not _exit: the sanitizer tells then, by its own exit code, of what it found. */
	exit(has_failed ? EXIT_FAILURE : EXIT_SUCCESS);
}

static enum result run_test(const struct plain_test *test)
{
	struct plain_options options = options_of(test);
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		run_child(test, &options);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0) {
		return FAILED;
	}
	if (WIFSIGNALED(status)) {
		return WTERMSIG(status) == options.signal ? PASSED : FAILED;
	}
	if (WEXITSTATUS(status) == EXIT_SKIPPED) {
		return SKIPPED;
	}
	return options.signal == 0 && WEXITSTATUS(status) == options.exit_code ? PASSED : FAILED;
}

static bool is_named(const struct plain_test *test, const char *wanted)
{
	size_t len = strlen(test->suite);

	return strncmp(wanted, test->suite, len) == 0 && strncmp(wanted + len, "::", 2) == 0 &&
	       strcmp(wanted + len + 2, test->name) == 0;
}

int main(int argc, char **argv)
{
	unsigned count[RESULTS] = {0};

	for (const struct plain_test *test = tests; test; test = test->next) {
		if (!test->name || (argc > 1 && !is_named(test, argv[1]))) {
			continue;
		}
		enum result result = run_test(test);

		count[result]++;
		if (result == FAILED) {
			fprintf(stderr, "FAILED %s::%s\n", test->suite, test->name);
		}
	}
	fprintf(stderr, "Under ThreadSanitizer: %u passed, %u skipped, %u failed\n", count[PASSED],
		count[SKIPPED], count[FAILED]);
	return count[FAILED] == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
