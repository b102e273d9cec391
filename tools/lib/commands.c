/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a command line by a table. */
#include "tools/lib/commands.h"

#include <assert.h>
#include <getopt.h>
#include <string.h>

enum {
	WORD = 1, /* getopt's, for what is no flag */
	OPTION_HELP = COMMAND_OPTIONS_MAX + WORD + 1,
	OPTION_VERSION,
	OPTION_FIRST = OPTION_VERSION + 1,
};

/* What getopt_long looks at, and whose words come next. */
struct parse {
	const struct command_table *table;
	struct command_line *line;
	int list; /* the option that takes words now; -1: none */
};

/* "compress" is one word of argv, "edit-memory rebase" two. Returns how many; 0: none is meant. */
static int match_command(const struct command *command, int argc, char *const argv[])
{
	const char *space = strchr(command->name, ' ');
	size_t first = space != NULL ? (size_t)(space - command->name) : strlen(command->name);

	if (argc < 2 || strlen(argv[1]) != first || strncmp(argv[1], command->name, first) != 0) {
		return 0;
	}
	if (space == NULL) {
		return 1;
	}
	return argc > 2 && strcmp(argv[2], space + 1) == 0 ? 2 : 0;
}

static int add_word(struct parse *parse, const char *word, struct error *err)
{
	struct command_line *line = parse->line;

	if (parse->list < 0 && line->command->operands == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "unexpected argument '%s' found", word);
	}
	if (line->word_count == COMMAND_WORDS_MAX) {
		return error_set(err, ERR_BAD_REQUEST, "More than %d words at once",
				 COMMAND_WORDS_MAX);
	}
	line->words[line->word_count++] = word;
	return 0;
}

static int take_option(struct parse *parse, int index, const char *value, struct error *err)
{
	struct command_line *line = parse->line;
	const struct command_option *option = &parse->table->options[index];

	if (((line->command->required | line->command->optional) & COMMAND_BIT(index)) == 0) {
		return error_set(err, ERR_BAD_REQUEST, "%s takes no --%s", line->command->name,
				 option->name);
	}
	if (line->values[index] != NULL && !option->is_list) {
		return error_set(err, ERR_BAD_REQUEST,
				 "the argument '--%s <%s>' cannot be used multiple times",
				 option->name, option->value);
	}
	line->values[index] = value;
	parse->list = option->is_list ? index : -1;
	return option->is_list ? add_word(parse, value, err) : 0;
}

static void fill_getopt(const struct command_table *table,
			struct option longs[COMMAND_OPTIONS_MAX + 3], char *shorts)
{
	/* Words come in their place; messages are ours. */
	*shorts++ = '-';
	*shorts++ = ':';
	for (size_t i = 0; i < table->option_count; i++) {
		longs[i] = (struct option){table->options[i].name, required_argument, NULL,
					   OPTION_FIRST + (int)i};
		*shorts++ = table->options[i].letter;
		*shorts++ = ':';
	}
	longs[table->option_count] = (struct option){"help", no_argument, NULL, OPTION_HELP};
	longs[table->option_count + 1] =
		(struct option){"version", no_argument, NULL, OPTION_VERSION};
	longs[table->option_count + 2] = (struct option){0};
	*shorts++ = 'h';
	*shorts++ = 'V';
	*shorts = '\0';
}

/* A letter may stand for one option of one command, and for another one of another. */
static int option_of(const struct parse *parse, int letter)
{
	const unsigned takes = parse->line->command->required | parse->line->command->optional;
	size_t found = parse->table->option_count;

	for (size_t i = 0; i < parse->table->option_count; i++) {
		if (parse->table->options[i].letter == letter &&
		    (found == parse->table->option_count || (takes & COMMAND_BIT(i)) != 0)) {
			found = i;
		}
	}
	assert(found < parse->table->option_count); /* getopt returns no other letter */
	return (int)found;
}

static int take(struct parse *parse, int found, const char *value, struct error *err)
{
	if (found == WORD) {
		return add_word(parse, value, err);
	}
	if (found == OPTION_HELP || found == 'h') {
		parse->line->wants_help = true;
		return 0;
	}
	if (found == OPTION_VERSION || found == 'V') {
		parse->line->wants_version = true;
		return 0;
	}
	if (found >= OPTION_FIRST && found < OPTION_FIRST + COMMAND_OPTIONS_MAX) {
		return take_option(parse, found - OPTION_FIRST, value, err);
	}
	return take_option(parse, option_of(parse, found), value, err);
}

/* `argv` begins with the command's last word. */
static int parse_flags(struct parse *parse, int argc, char **argv, struct error *err)
{
	struct option longs[COMMAND_OPTIONS_MAX + 3];
	char shorts[2 * COMMAND_OPTIONS_MAX + 5];
	int found;

	fill_getopt(parse->table, longs, shorts);
	optind = 0;
	while ((found = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (found == ':') {
			return error_set(err, ERR_BAD_REQUEST, "a value is required for '%s'",
					 argv[optind - 1]);
		}
		if (found == '?') {
			return error_set(err, ERR_BAD_REQUEST, "unexpected argument '%s' found",
					 argv[optind - 1]);
		}
		if (take(parse, found, optarg, err) < 0) {
			return -1;
		}
	}
	for (int i = optind; i < argc; i++) { /* behind "--" */
		if (add_word(parse, argv[i], err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int check(const struct command_table *table, const struct command_line *line,
		 struct error *err)
{
	for (size_t i = 0; i < table->option_count; i++) {
		if ((line->command->required & COMMAND_BIT(i)) != 0 && line->values[i] == NULL) {
			return error_set(err, ERR_BAD_REQUEST,
					 "the following required argument was not provided: --%s "
					 "<%s>",
					 table->options[i].name, table->options[i].value);
		}
	}
	if (line->command->operands != NULL && line->word_count == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "the following required argument was not provided: <%s>...",
				 line->command->operands);
	}
	return 0;
}

int command_parse(const struct command_table *table, int argc, char **argv,
		  struct command_line *line, struct error *err)
{
	struct parse parse = {.table = table, .line = line, .list = -1};
	int words = 0;

	*line = (struct command_line){0};
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		line->wants_help = true;
		return 0;
	}
	if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
		line->wants_version = true;
		return 0;
	}
	for (const struct command *command = table->commands; command->name != NULL; command++) {
		words = match_command(command, argc, argv);
		if (words > 0) {
			line->command = command;
			break;
		}
	}
	if (argc < 2) {
		return error_set(err, ERR_BAD_REQUEST, "a subcommand is missing");
	}
	if (line->command == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "unrecognized subcommand '%s%s%s'", argv[1],
				 argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
	}
	if (parse_flags(&parse, argc - words, argv + words, err) < 0) {
		return -1;
	}
	return line->wants_help || line->wants_version ? 0 : check(table, line, err);
}

/* --- Help --- */

static void print_option(const struct command_option *option, const char *open, const char *close,
			 FILE *out)
{
	fprintf(out, " %s--%s %s%s%s", open, option->name, option->value,
		option->is_list ? "..." : "", close);
}

void command_print_usage(const struct command_table *table, const struct command *command,
			 FILE *out)
{
	fprintf(out, "%s", command->name);
	for (size_t i = 0; i < table->option_count; i++) {
		if ((command->required & COMMAND_BIT(i)) != 0) {
			print_option(&table->options[i], "", "", out);
		}
	}
	for (size_t i = 0; i < table->option_count; i++) {
		if ((command->optional & COMMAND_BIT(i)) != 0) {
			print_option(&table->options[i], "[", "]", out);
		}
	}
	if (command->operands != NULL) {
		fprintf(out, " %s...", command->operands);
	}
}

void command_print_all(const struct command_table *table, FILE *out)
{
	for (const struct command *command = table->commands; command->name != NULL; command++) {
		fputs("  ", out);
		command_print_usage(table, command, out);
		fprintf(out, "\n      %s\n", command->help);
	}
}
