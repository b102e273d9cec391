/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completes command lines.
 *
 * Theory of operation. The words in front of the cursor are walked through as ctl_args_parse would,
 * without its checks: which command, how many operands, whether an option waits for its value. The
 * command's usage says what the next operand is: lower-case words are choices, upper-case ones a
 * kind of thing.
 */
#include "tools/squibctl/ctl_complete.h"

#include <jansson.h>
#include <string.h>

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_machine.h"
#include "vmm/base/bytes.h"
#include "vmm/base/error.h"

enum {
	TOKEN_LEN = 64
};

struct cursor {
	const struct ctl_command *command; /* NULL: not yet on the line */
	const struct ctl_option *waits;	   /* its value is due; NULL: none */
	unsigned operands;
	bool is_over; /* what follows is another program's */
	bool only_words;
	const char *word; /* as far as it is typed */
	FILE *out;
};

static void offer(const struct cursor *cursor, const char *word, const char *help)
{
	if (strncmp(word, cursor->word, strlen(cursor->word)) == 0) {
		fprintf(cursor->out, "%s\t%s\n", word, help);
	}
}

/* --- kinds of things --- */

/* With `behind` after each name. */
static void offer_machines(const struct cursor *cursor, const char *behind)
{
	struct error ignored = {0};
	json_t *names = ctl_machine_names(&ignored);
	const json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
	{
		struct machine machine;
		char word[TOKEN_LEN];

		error_clear(&ignored);
		bool is_open = ctl_machine_open(json_string_value(name), &machine, &ignored) == 0;

		snprintf(word, sizeof(word), "%s%s", json_string_value(name), behind);
		offer(cursor, word,
		      is_open ? ctl_machine_state_name(ctl_machine_state(&machine)) : "damaged");
		ctl_machine_close(&machine);
	}
	json_decref(names);
}

/* Of the API: what can be asked for without an id. */
static void offer_paths(const struct cursor *cursor)
{
	static const char *const paths[] = {
		"/",
		"/actions",
		"/balloon",
		"/balloon/hinting/start",
		"/balloon/hinting/status",
		"/balloon/hinting/stop",
		"/balloon/statistics",
		"/boot-source",
		"/cpu-config",
		"/devices",
		"/drives/",
		"/entropy",
		"/filesystems/",
		"/fork",
		"/fork/",
		"/hotplug/memory",
		"/logger",
		"/machine-config",
		"/memory",
		"/memory/dirty",
		"/memory/mappings",
		"/metrics",
		"/mmds",
		"/mmds/config",
		"/network-interfaces/",
		"/pmem/",
		"/serial",
		"/snapshot",
		"/snapshot/create",
		"/snapshot/load",
		"/snapshot/working-set",
		"/version",
		"/vm",
		"/vm/config",
		"/vsock",
	};

	for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
		offer(cursor, paths[i], "of the API");
	}
}

/* "show|set" */
static void offer_choices(const struct cursor *cursor, char *token)
{
	char *rest;

	for (char *word = strtok_r(token, "|", &rest); word != NULL;
	     word = strtok_r(NULL, "|", &rest)) {
		offer(cursor, word, cursor->command->name);
	}
}

/* By the name that the usage has for it. */
static void offer_kind(const struct cursor *cursor, const char *kind)
{
	static const char *const files[] = {
		"PATH", "IMAGE", "STATE",  "MEMORY",	      "FILE",
		"FROM", "TO",	 "SOCKET", "HOST:GUEST[:ro]",
	};

	if (cursor->waits == NULL && strcmp(cursor->command->name, "cp") == 0) {
		offer_machines(cursor, ":");
	}
	/* An option's NAME is that of something new. */
	bool is_machine = strcmp(kind, "MACHINE") == 0 || strncmp(kind, "NAME|", 5) == 0 ||
			  (strcmp(kind, "NAME") == 0 && cursor->waits == NULL);

	if (is_machine) {
		offer_machines(cursor, "");
	}
	if (strcmp(kind, "PATH") == 0 && cursor->waits == NULL) {
		offer_paths(cursor);
	} else if (strcmp(kind, "DIRECTORY") == 0 || strcmp(kind, "NAME|DIRECTORY") == 0) {
		fputs(":directories\n", cursor->out);
	} else if (strncmp(kind, "JSON", 4) == 0 && cursor->word[0] == '@') {
		fputs(":files\n", cursor->out);
	} else {
		for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
			if (strcmp(kind, files[i]) == 0) {
				fputs(":files\n", cursor->out);
			}
		}
	}
}

/* --- the cursor --- */

static void offer_operand(const struct cursor *cursor)
{
	const char *at = cursor->command->operands;
	char token[TOKEN_LEN];
	size_t len;

	for (unsigned i = 0; i < cursor->operands; i++) {
		at += strcspn(at, " ");
		at += strspn(at, " ");
	}
	at += strspn(at, "[");
	len = strcspn(at, "]. ");
	if (cursor->operands >= cursor->command->operands_max || len == 0 || len >= sizeof(token)) {
		return;
	}
	memcpy(token, at, len);
	token[len] = '\0';
	if (token[0] >= 'a' && token[0] <= 'z') {
		offer_choices(cursor, token);
	} else {
		offer_kind(cursor, token);
	}
}

static void offer_options(const struct cursor *cursor)
{
	for (const struct ctl_option *option = ctl_options(); option->name != NULL; option++) {
		char word[TOKEN_LEN];

		if (cursor->command == NULL || ctl_goes_with(option, cursor->command)) {
			snprintf(word, sizeof(word), "--%s", option->name);
			offer(cursor, word, option->help);
		}
	}
}

static void offer_commands(const struct cursor *cursor)
{
	for (const struct ctl_command *command = ctl_commands(); command->name != NULL; command++) {
		offer(cursor, command->name, command->help);
	}
}

static void walk(struct cursor *cursor, const char *word)
{
	if (cursor->waits != NULL) {
		cursor->waits = NULL;
	} else if (strcmp(word, "--") == 0) {
		cursor->only_words = true;
	} else if (word[0] == '-' && word[1] != '\0' && !cursor->only_words) {
		const struct ctl_option *option = ctl_find_option(word, cursor->command);

		if (option != NULL && option->value != NULL && strchr(word, '=') == NULL) {
			cursor->waits = option;
		}
	} else if (cursor->command != NULL) {
		cursor->operands++;
	} else {
		for (const struct ctl_command *command = ctl_commands(); command->name != NULL;
		     command++) {
			if (strcmp(command->name, word) == 0) {
				cursor->command = command;
			}
		}
		/* Nothing is known of a command that there is not. */
		cursor->is_over = cursor->command == NULL;
	}
	cursor->is_over =
		cursor->is_over || (cursor->command != NULL && cursor->command->passes_on &&
				    cursor->operands == cursor->command->operands_max);
}

void ctl_complete(int count, char *const words[], FILE *out)
{
	struct cursor cursor = {.word = count > 0 ? words[count - 1] : "", .out = out};

	for (int i = 0; i < count - 1 && !cursor.is_over; i++) {
		walk(&cursor, words[i]);
	}
	if (cursor.is_over) {
		return;
	}
	if (cursor.waits != NULL) {
		offer_kind(&cursor, cursor.waits->value);
	} else if (cursor.word[0] == '-' && !cursor.only_words) {
		offer_options(&cursor);
	} else if (cursor.command == NULL) {
		offer_commands(&cursor);
	} else {
		offer_operand(&cursor);
	}
}
