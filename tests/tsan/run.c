/* SPDX-License-Identifier: Apache-2.0 */
/* Runs all registered tests, or the one that is named as SUITE::NAME, each in a child, some beside
 * each other; see criterion/criterion.h here. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EXIT_SKIPPED = 77,
	JOBS = 4,	 /* children at once; most wait most of the time */
	TIMES_SLOWER = 4 /* than without the sanitizer, which the tests' limits are made for */
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
	alarm(TIMES_SLOWER * (unsigned)ceil(options->timeout));
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

/* A child, and the test that it runs. */
struct job {
	pid_t child; /* 0: none */
	const struct plain_test *test;
};

static unsigned counts[RESULTS];

static enum result result_of(const struct plain_test *test, int status)
{
	struct plain_options options = options_of(test);

	if (WIFSIGNALED(status)) {
		return WTERMSIG(status) == options.signal ? PASSED : FAILED;
	}
	if (WEXITSTATUS(status) == EXIT_SKIPPED) {
		return SKIPPED;
	}
	return options.signal == 0 && WEXITSTATUS(status) == options.exit_code ? PASSED : FAILED;
}

static void judge(const struct plain_test *test, enum result result)
{
	counts[result]++;
	if (result == FAILED) {
		fprintf(stderr, "FAILED %s::%s\n", test->suite, test->name);
	}
}

/* Waits for one child. Returns its job, free again; NULL: there is no child. */
static struct job *wait_for_one(struct job jobs[JOBS])
{
	int status = 0;
	pid_t child = wait(&status);

	for (struct job *job = jobs; child > 0 && job < jobs + JOBS; job++) {
		if (job->child == child) {
			judge(job->test, result_of(job->test, status));
			job->child = 0;
			return job;
		}
	}
	return NULL;
}

static struct job *free_job(struct job jobs[JOBS])
{
	for (struct job *job = jobs; job < jobs + JOBS; job++) {
		if (job->child == 0) {
			return job;
		}
	}
	return wait_for_one(jobs);
}

static void start(struct job jobs[JOBS], const struct plain_test *test)
{
	struct plain_options options = options_of(test);
	struct job *job = free_job(jobs);
	pid_t child = job ? fork() : -1;

	if (child == 0) {
		run_child(test, &options);
	}
	if (child < 0) {
		judge(test, FAILED);
		return;
	}
	*job = (struct job){child, test};
}

static bool is_named(const struct plain_test *test, const char *wanted)
{
	size_t len = strlen(test->suite);

	return strncmp(wanted, test->suite, len) == 0 && strncmp(wanted + len, "::", 2) == 0 &&
	       strcmp(wanted + len + 2, test->name) == 0;
}

int main(int argc, char **argv)
{
	struct job jobs[JOBS] = {0};

	for (const struct plain_test *test = tests; test; test = test->next) {
		if (test->name && (argc == 1 || is_named(test, argv[1]))) {
			start(jobs, test);
		}
	}
	while (wait_for_one(jobs)) {
	}
	fprintf(stderr, "Under ThreadSanitizer: %u passed, %u skipped, %u failed\n", counts[PASSED],
		counts[SKIPPED], counts[FAILED]);
	return counts[FAILED] == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
