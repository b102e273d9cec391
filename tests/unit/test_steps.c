/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/steps.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/steps.h"

struct log {
	char text[32];
	char failing; /* the step that fails */
};

static int run(struct log *log, char step, struct error *err)
{
	log->text[strlen(log->text)] = step;
	return step == log->failing ? error_set(err, ERR_HOST, "step %c", step) : 0;
}

static int run_a(void *arg, struct error *err)
{
	return run(arg, 'a', err);
}

static int run_b(void *arg, struct error *err)
{
	return run(arg, 'b', err);
}

static int run_c(void *arg, struct error *err)
{
	return run(arg, 'c', err);
}

static void undo_a(void *arg)
{
	strcat(((struct log *)arg)->text, "A");
}

static void undo_c(void *arg)
{
	strcat(((struct log *)arg)->text, "C");
}

static const struct step steps[] = {{run_a, undo_a}, {run_b, NULL}, {run_c, undo_c}};

Test(steps, a_failure_walks_back_what_was_done)
{
	static const struct {
		char failing;
		const char *text;
	} cases[] = {{'a', "aA"}, {'b', "abA"}, {'c', "abcCA"}, {0, "abc"}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct log log = {.failing = cases[i].failing};
		struct error err = {0};

		cr_expect_eq(steps_run(steps, ARRAY_COUNT(steps), &log, &err),
			     cases[i].failing != 0 ? -1 : 0);
		cr_expect_str_eq(log.text, cases[i].text, "case %zu: %s", i, log.text);
	}
}

Test(steps, all_are_undone_from_the_last_one_on)
{
	struct log log = {0};

	steps_undo(steps, ARRAY_COUNT(steps), &log);
	cr_expect_str_eq(log.text, "CA");
}
