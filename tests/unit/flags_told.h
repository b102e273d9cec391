/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a program's --help and manual page tell of all its flags. */
#ifndef TESTS_UNIT_FLAGS_TOLD_H
#define TESTS_UNIT_FLAGS_TOLD_H

#include <stddef.h>
#include <stdio.h>

#include "tools/lib/commands.h"
#include "vmm/base/flags.h"

/* The text of a file of the tree, to be freed; tests run in its root. */
char *document(const char *path);

/* `word` as roff has it: each dash as \-, so that it can be copied from the page. */
const char *roff(const char *word);

enum {
	TOLD_ARGV_MAX = 12
};

/* Copies a command line's words, which a parser may sort, and returns how many there are. */
int argv_copy(const char *const argv[TOLD_ARGV_MAX], char *copy[TOLD_ARGV_MAX + 1]);

/* Each flag has one line of --help, with its text, and no line has more than 100 columns. */
void expect_help_tells(const struct flag *flags, size_t count, void (*print_help)(FILE *out));

/* Each flag has an entry in a manual page, with its value. */
void expect_page_tells(const struct flag *flags, size_t count, const char *path);

/* Each command has an entry in a manual page, with its options. */
void expect_page_has_commands(const char *path, const struct command_table *table);

#endif
