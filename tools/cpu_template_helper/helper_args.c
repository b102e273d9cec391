/* SPDX-License-Identifier: Apache-2.0 */
/* Reads cpu-template-helper's command line. */
#include "tools/cpu_template_helper/helper_args.h"

#include <string.h>

#include "tools/cpu_template_helper/fingerprint_names.h"
#include "vmm/base/bytes.h"
#include "vmm/base/text.h"

enum {
	NAMES_LEN = 256
};

static const struct command_option options[HELPER_FLAG_COUNT] = {
	[HELPER_CONFIG] = {"config", "PATH", 'c', false},
	[HELPER_TEMPLATE] = {"template", "PATH", 't', false},
	[HELPER_OUTPUT] = {"output", "PATH", 'o', false},
	[HELPER_PATHS] = {"paths", "PATH", 'p', true},
	[HELPER_SUFFIX] = {"suffix", "SUFFIX", 's', false},
	[HELPER_PREV] = {"prev", "PATH", 'p', false},
	[HELPER_CURR] = {"curr", "PATH", 'c', false},
	[HELPER_FILTERS] = {"filters", "FIELD", 'f', true},
};

#define BIT(flag) COMMAND_BIT(flag)

static const struct command commands[] = {
	{.name = "template dump",
	 .help = "Write what a guest's processor is (cpu_config.json)",
	 .task = HELPER_TEMPLATE_DUMP,
	 .optional = BIT(HELPER_CONFIG) | BIT(HELPER_TEMPLATE) | BIT(HELPER_OUTPUT)},
	{.name = "template strip",
	 .help = "Write what differs between dumps, beside each (_stripped)",
	 .task = HELPER_TEMPLATE_STRIP,
	 .optional = BIT(HELPER_PATHS) | BIT(HELPER_SUFFIX)},
	{.name = "template verify",
	 .help = "Say whether guests see what a template promises",
	 .task = HELPER_TEMPLATE_VERIFY,
	 .optional = BIT(HELPER_CONFIG) | BIT(HELPER_TEMPLATE)},
	{.name = "fingerprint dump",
	 .help = "Write what a guest's processor depends on (fingerprint.json)",
	 .task = HELPER_FINGERPRINT_DUMP,
	 .optional = BIT(HELPER_CONFIG) | BIT(HELPER_TEMPLATE) | BIT(HELPER_OUTPUT)},
	{.name = "fingerprint compare",
	 .help = "Say whether two fingerprints are the same, or fields of them",
	 .task = HELPER_FINGERPRINT_COMPARE,
	 .required = BIT(HELPER_PREV) | BIT(HELPER_CURR),
	 .optional = BIT(HELPER_FILTERS)},
	{.name = "explain",
	 .help = "Name the features in which two dumps or fingerprints differ",
	 .task = HELPER_EXPLAIN,
	 .operands = "FILES"},
	{.name = "common",
	 .help = "Write the template that the hosts of all dumps can keep (common.json)",
	 .task = HELPER_COMMON,
	 .optional = BIT(HELPER_OUTPUT),
	 .operands = "FILES"},
	{0},
};

const struct command_table helper_commands = {commands, options, HELPER_FLAG_COUNT};

static void set_default(struct command_line *line, enum helper_flag flag, const char *value)
{
	if (line->values[flag] == NULL) {
		line->values[flag] = value;
	}
}

static int check_filters(const struct command_line *line, struct error *err)
{
	char names[NAMES_LEN];
	struct text text;

	text_init(&text, names, sizeof(names));
	for (size_t i = 0; i < FINGERPRINT_FIELDS; i++) {
		text_add(&text, "%s%s", i > 0 ? ", " : "", fingerprint_names[i]);
	}
	for (size_t i = 0; i < line->word_count; i++) {
		if (fingerprint_field(line->words[i]) == FINGERPRINT_FIELDS) {
			return error_set(err, ERR_BAD_REQUEST,
					 "invalid value '%.64s' for '--filters <FIELD>...': it is "
					 "one of %s",
					 line->words[i], names);
		}
	}
	return 0;
}

/* The words are those of --paths, or operands. */
static int check_files(const struct command_line *line, size_t min, size_t max, struct error *err)
{
	return line->word_count >= min && line->word_count <= max
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST, "%s takes two files%s, and %zu are named",
				   line->command->name, max > min ? " or more" : "",
				   line->word_count);
}

static int check(struct command_line *line, struct error *err)
{
	switch ((enum helper_task)line->command->task) {
	case HELPER_TEMPLATE_DUMP:
		set_default(line, HELPER_OUTPUT, "cpu_config.json");
		return 0;
	case HELPER_FINGERPRINT_DUMP:
		set_default(line, HELPER_OUTPUT, "fingerprint.json");
		return 0;
	case HELPER_COMMON:
		set_default(line, HELPER_OUTPUT, "common.json");
		return check_files(line, 2, COMMAND_WORDS_MAX, err);
	case HELPER_EXPLAIN:
		return check_files(line, 2, 2, err);
	case HELPER_TEMPLATE_STRIP:
		set_default(line, HELPER_SUFFIX, "_stripped");
		return check_files(line, 2, COMMAND_WORDS_MAX, err);
	case HELPER_FINGERPRINT_COMPARE:
		return check_filters(line, err);
	case HELPER_TEMPLATE_VERIFY:
		break;
	}
	return 0;
}

int helper_args_parse(int argc, char **argv, struct command_line *line, struct error *err)
{
	int result = command_parse(&helper_commands, argc, argv, line, err);

	return result < 0 || line->wants_help || line->wants_version ? result : check(line, err);
}

void helper_print_help(FILE *out)
{
	fputs("cpu-template-helper: makes, checks and compares CPU templates\n\n"
	      "Usage: cpu-template-helper COMMAND [FLAGS]\n\nCommands:\n",
	      out);
	command_print_all(&helper_commands, out);
	fputs("\nFlags have short forms of their first letter: -c for --config.\n"
	      "Exit status: 0 done; 1 failed, or verify or compare found a difference; 2 "
	      "wrong command line.\nMore: man "
	      "cpu-template-helper.\n",
	      out);
}
