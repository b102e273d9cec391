/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines in Firecracker's grammar, read by a table of flags. */
#ifndef VMM_BASE_FLAGS_H
#define VMM_BASE_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct flag {
	const char *name;  /* without the dashes */
	const char *value; /* what --help calls its value; NULL: it takes none */
	const char *help;
	unsigned group; /* the owner's, for its --help */
	bool is_required;
	bool is_repeated;	/* it may be */
	const char *by_default; /* the value where not given */
	const char *requires;
	const char *forbids;
	/* Puts the text of a value ("" for a switch) into *out; NULL: nothing to do. */
	int (*store)(const struct flag *flag, const char *text, void *out, struct error *err);
	size_t offset; /* in *out, for the functions below */
};

/* Members for `store` to fill in: const char *, bool, const char *, uint64_t. */
int flag_store_text(const struct flag *flag, const char *text, void *out, struct error *err);
int flag_store_switch(const struct flag *flag, const char *text, void *out, struct error *err);
/* Firecracker's --id: see flag_check_id. */
int flag_store_id(const struct flag *flag, const char *text, void *out, struct error *err);
int flag_store_u64(const struct flag *flag, const char *text, void *out, struct error *err);

/*
 * Fails unless `text` may be the id of an instance. It becomes a part of paths: what it may have in
 * it can't lead elsewhere [compat].
 */
MUST_CHECK int flag_check_id(const char *text, struct error *err);

/* A whole text of digits that fits. */
MUST_CHECK bool flag_parse_u64(const char *text, uint64_t *value);

/* A command line and the table to read it by, of at most 64 flags. */
struct flags_line {
	const struct flag *flags;
	size_t flag_count;
	int argc;
	char *const *argv;
	uint64_t given; /* by flags_match(): a bit for each flag that is there */
};

enum flags_action {
	FLAGS_RUN,
	FLAGS_HELP,
	FLAGS_VERSION
};

/*
 * Cuts line->argc at a bare `--` and tells what the words before it ask for, right or wrong:
 * --help, -h and --version win over any fault.
 */
enum flags_action flags_begin(struct flags_line *line);

/* Checks the grammar and what flags require and forbid, in Firecracker's words [compat]. */
MUST_CHECK int flags_match(struct flags_line *line, struct error *err);

/* Stores the values of a line that matches, or defaults, in the order of the table. */
MUST_CHECK int flags_store(const struct flags_line *line, void *out, struct error *err);

/* One line of --help: the flag in `width` columns, then its text. */
void flag_print(const struct flag *flag, int width, FILE *out);

#endif
