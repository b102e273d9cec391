/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs that test the real binary have in common: a part of a name selects tests, each
 * test is a line of "ok", "FAIL" or "skip", and the last line is the sum.
 */
#ifndef TESTS_LIB_RUNNER_H
#define TESTS_LIB_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/squib.h"
#include "tests/lib/testbed.h"

struct runner {
	const char *part; /* of the names of tests that run; NULL: all */
	enum kvm_kind kvm;
	bool has_second_try; /* for each test that runner_run runs */
	uint64_t begin_ms;   /* of the present test */
	unsigned passed;
	unsigned failed;
	unsigned skipped;
};

/*
 * Reads the arguments [PART_OF_A_NAME] and KVM_KIND, and whether there is SECOND_TRY. false: wrong
 * arguments; a usage with the variables of `environment` was printed, and the exit status is to be
 * 2.
 */
bool runner_init(struct runner *runner, int argc, char **argv, const char *environment);

/*
 * Whether the test is to run: it is selected, not left to the other architecture (ONCE in the
 * environment), has not passed by one of the logs in PASSED (names with spaces between them), and
 * KVM suffices; else it is counted as skipped.
 */
bool runner_begins(struct runner *runner, const char *name, enum kvm_kind needs);

/* Counts and prints a test that can't run. */
void runner_skip(struct runner *runner, const char *name, const char *reason);

/* Counts and prints the test's result. Returns `is_ok`. */
bool runner_judge(struct runner *runner, const char *name, bool is_ok, const char *failure);

/* A test of one squib. */
struct runner_test {
	const char *name;
	enum kvm_kind needs;
	unsigned timeout_s;
	bool (*run)(struct squib *squib, const void *arg);
	const void *arg;
};

/*
 * Runs the test if it is to run, with a fresh squib, counts and prints the result; after a failure
 * also what squib has printed and logged. Where tests have a second try, a first failure is printed
 * as a line of "again", and not counted.
 */
void runner_run(struct runner *runner, const struct runner_test *test);

/* Prints the sum. Returns the exit status. */
int runner_end(const struct runner *runner);

/* What a test lacks, as skipped tests say it. */
const char *runner_kvm_name(enum kvm_kind kind);

#endif
