/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines of subcommands and flags as a table, in the grammar of Firecracker's tools (clap).
 */
#ifndef TOOLS_LIB_COMMANDS_H
#define TOOLS_LIB_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	COMMAND_OPTIONS_MAX = 12,
	COMMAND_WORDS_MAX = 256, /* of a list, or operands */
};

struct command_option {
	const char *name; /* without dashes */
	const char *value;
	char letter;  /* several may have it that no command takes together */
	bool is_list; /* the words up to the next flag; it may be there several times */
};

struct command {
	const char *name; /* "edit-memory rebase": one word or two; NULL ends a table */
	const char *help;
	const char *prefix; /* of messages, for the owner [compat]; NULL: none */
	int task;	    /* the owner's */
	unsigned required;  /* a bit for each option */
	unsigned optional;
	const char *operands; /* what the usage calls them; NULL: it takes none */
};

struct command_table {
	const struct command *commands;
	const struct command_option *options;
	size_t option_count;
};

/* All words are argv's. */
struct command_line {
	bool wants_help;
	bool wants_version;
	const struct command *command;
	const char *values[COMMAND_OPTIONS_MAX];  /* NULL: not given; of a list the first word */
	const char *words[COMMAND_WORDS_MAX + 1]; /* of the list, or the operands; NULL ends them */
	size_t word_count;
};

/* The bit of an option in command.required and .optional. */
#define COMMAND_BIT(option) (1U << (option))

/*
 * A command has one list at most, or operands. On failure the message is for the user, exit status
 * 2. --help and --version win over what is missing.
 */
MUST_CHECK int command_parse(const struct command_table *table, int argc, char **argv,
			     struct command_line *line, struct error *err);

/* The command and its flags, as one line without an end. */
void command_print_usage(const struct command_table *table, const struct command *command,
			 FILE *out);

/* All commands, each with its usage and its help. */
void command_print_all(const struct command_table *table, FILE *out);

#endif
