/* SPDX-License-Identifier: Apache-2.0 */
/* One file of vectors while it is played. The format is described at the head of run.c. */
#ifndef TESTS_API_SCRIPT_H
#define TESTS_API_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/api/text.h"
#include "tests/lib/squib.h"

enum {
	CONNECTIONS = 16,
	FAILURE_LEN = 2 * TEXT_SHOWN + 256
};

struct script {
	struct squib squib;
	bool is_open; /* the directory exists */
	/* what the rest of the file asks for */
	enum kvm_kind needs;
	bool needs_landlock;
	bool lacks_tap;		      /* which it needs */
	char arch[16];		      /* "any" for all */
	int connections[CONNECTIONS]; /* -1: closed */
	unsigned current;
	char request[TEXT_SHOWN]; /* the last one, for messages */
	bool is_sent;
	size_t seen_out; /* up to where `sees` has matched */
	size_t seen_log;
	char failure[FAILURE_LEN];
	struct text text; /* scratch: the rest of the line */
	struct text other;
};

void script_init(struct script *script);
void script_destroy(struct script *script);

/* Why vectors can't run here now; NULL: they can. */
const char *script_why_skipped(const struct script *script);

enum step_result {
	STEP_DONE, /* not a vector, or one that runs elsewhere only */
	STEP_PASSED,
	STEP_FAILED, /* script->failure tells */
	STEP_SKIPPED /* a vector */
};

/* Plays one line that is neither empty nor a comment. */
enum step_result script_step(struct script *script, char *line);

/* Fails with a message. */
__attribute__((format(printf, 2, 3))) bool script_fail(struct script *script, const char *fmt, ...);

/* Of config.c: puts the whole configuration in place of a text that is $config{...}. */
bool config_expand(struct script *script, struct text *text);

/* --- of metrics.c --- */

/* `lines N`: the metrics file has that many lines, and each is as it should be. */
bool metrics_lines(struct script *script, const char *rest);

/* `metric LINE GROUP.FIELD VALUE`: lines count from 1. */
bool metrics_value(struct script *script, const char *rest);

#endif
