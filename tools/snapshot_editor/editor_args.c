/* SPDX-License-Identifier: Apache-2.0 */
/* Reads snapshot-editor's command line. */
#include "tools/snapshot_editor/editor_args.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tools/snapshot_editor/compress.h"
#include "vmm/base/bytes.h"
#include "vmm/base/flags.h"

enum {
	OPTION_HELP = EDITOR_FLAG_COUNT,
	OPTION_VERSION,
	OPTION_COUNT,
	NUMBER_LEN_MAX = 20
};

#define BIT(flag) (1U << (flag))

static const struct editor_option options[EDITOR_FLAG_COUNT] = {
	[EDITOR_MEMORY_PATH] = {"memory-path", "PATH", 'm'},
	[EDITOR_DIFF_PATH] = {"diff-path", "PATH", 'd'},
	[EDITOR_VMSTATE_PATH] = {"vmstate-path", "PATH", 'v'},
	[EDITOR_OUTPUT_PATH] = {"output-path", "PATH", 'o'},
	[EDITOR_COMPRESSED_PATH] = {"compressed-path", "PATH", 'c'},
	[EDITOR_SIGNATURE_PATH] = {"signature-path", "PATH", 's'},
	[EDITOR_KEY] = {"key", "PATH", 'k'},
	[EDITOR_LEVEL] = {"level", "N", 'l'},
};

#define INFO_PREFIX "Error during getting info from a vmstate file"

static const struct editor_command commands[] = {
	{.name = "edit-memory rebase",
	 .help = "Merge the memory file of a Diff snapshot into its base",
	 .prefix = "Error during editing memory file",
	 .task = EDITOR_REBASE,
	 .required = BIT(EDITOR_MEMORY_PATH) | BIT(EDITOR_DIFF_PATH)},
	{.name = "edit-vmstate remove-regs",
	 .help = "Remove registers from all vCPUs, by their ids in KVM (aarch64)",
	 .prefix = "Error during editing vmstate file",
	 .task = EDITOR_REMOVE_REGS,
	 .required = BIT(EDITOR_VMSTATE_PATH) | BIT(EDITOR_OUTPUT_PATH),
	 .takes_regs = true},
	{.name = "info-vmstate version",
	 .help = "Print the version of a state file's format",
	 .prefix = INFO_PREFIX,
	 .task = EDITOR_INFO_VERSION,
	 .required = BIT(EDITOR_VMSTATE_PATH)},
	{.name = "info-vmstate vcpu-states",
	 .help = "Print the states of the vCPUs",
	 .prefix = INFO_PREFIX,
	 .task = EDITOR_INFO_VCPU_STATES,
	 .required = BIT(EDITOR_VMSTATE_PATH)},
	{.name = "info-vmstate vm-state",
	 .help = "Print all that is in a state file",
	 .prefix = INFO_PREFIX,
	 .task = EDITOR_INFO_VM_STATE,
	 .required = BIT(EDITOR_VMSTATE_PATH)},
	{.name = "verify",
	 .help = "Say whether a state file is whole, and its memory file as long as it must be",
	 .task = EDITOR_VERIFY,
	 .required = BIT(EDITOR_VMSTATE_PATH),
	 .optional = BIT(EDITOR_MEMORY_PATH)},
	{.name = "compress",
	 .help = "Compress a memory file, with a table to find parts by",
	 .task = EDITOR_COMPRESS,
	 .required = BIT(EDITOR_MEMORY_PATH) | BIT(EDITOR_OUTPUT_PATH),
	 .optional = BIT(EDITOR_LEVEL)},
	{.name = "decompress",
	 .help = "Make a memory file of a compressed one",
	 .task = EDITOR_DECOMPRESS,
	 .required = BIT(EDITOR_COMPRESSED_PATH) | BIT(EDITOR_OUTPUT_PATH)},
	{.name = "keygen",
	 .help = "Make a key to sign with, and PATH.pub to check by",
	 .task = EDITOR_KEYGEN,
	 .required = BIT(EDITOR_OUTPUT_PATH)},
	{.name = "sign",
	 .help = "Sign a snapshot: write VMSTATE.sig",
	 .task = EDITOR_SIGN,
	 .required = BIT(EDITOR_KEY) | BIT(EDITOR_VMSTATE_PATH),
	 .optional = BIT(EDITOR_MEMORY_PATH) | BIT(EDITOR_SIGNATURE_PATH)},
	{.name = "check",
	 .help = "Check a snapshot by VMSTATE.sig and a public key",
	 .task = EDITOR_CHECK,
	 .required = BIT(EDITOR_KEY) | BIT(EDITOR_VMSTATE_PATH),
	 .optional = BIT(EDITOR_MEMORY_PATH) | BIT(EDITOR_SIGNATURE_PATH)},
	{0},
};

const struct editor_command *editor_commands(void)
{
	return commands;
}

const struct editor_option *editor_options(void)
{
	return options;
}

/* --- Words --- */

/* "compress" is one word of argv, "edit-memory rebase" two. Returns how many; 0: none is meant. */
static int match_command(const struct editor_command *command, int argc, char *const argv[])
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

static int add_reg(struct editor_args *args, const char *text, struct error *err)
{
	char *end = NULL;
	bool is_hex = strncmp(text, "0x", 2) == 0 || strncmp(text, "0X", 2) == 0;

	errno = 0;
	unsigned long long id = strtoull(text, &end, is_hex ? 16 : 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "'%s' is no id of a register: it is a number, 0x for hex", text);
	}
	if (args->reg_count == EDITOR_REGS_MAX) {
		return error_set(err, ERR_BAD_REQUEST, "More than %d registers at once",
				 EDITOR_REGS_MAX);
	}
	args->regs[args->reg_count++] = id;
	return 0;
}

/* An operand, which may be several ids in one word. */
static int add_regs(struct editor_args *args, const char *word, struct error *err)
{
	char copy[NUMBER_LEN_MAX + 1];

	if (!args->command->takes_regs) {
		return error_set(err, ERR_BAD_REQUEST, "unexpected argument '%s' found", word);
	}
	while (*word != '\0') {
		size_t len = strcspn(word, " ");

		if (len > NUMBER_LEN_MAX) {
			return error_set(err, ERR_BAD_REQUEST, "'%s' is no id of a register", word);
		}
		memcpy(copy, word, len);
		copy[len] = '\0';
		if (len > 0 && add_reg(args, copy, err) < 0) {
			return -1;
		}
		word += len + (word[len] == ' ' ? 1 : 0);
	}
	return 0;
}

/* --- Flags --- */

static int take_flag(struct editor_args *args, int flag, const char *value, struct error *err)
{
	if (flag == OPTION_HELP) {
		args->wants_help = true;
		return 0;
	}
	if (flag == OPTION_VERSION) {
		args->wants_version = true;
		return 0;
	}
	if (((args->command->required | args->command->optional) & BIT(flag)) == 0) {
		return error_set(err, ERR_BAD_REQUEST, "%s takes no --%s", args->command->name,
				 options[flag].name);
	}
	if (args->values[flag] != NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "the argument '--%s <%s>' cannot be used multiple times",
				 options[flag].name, options[flag].value);
	}
	args->values[flag] = value;
	return 0;
}

static void fill_getopt(struct option longs[OPTION_COUNT + 1], char *shorts)
{
	*shorts++ = ':'; /* messages are ours */
	for (int i = 0; i < EDITOR_FLAG_COUNT; i++) {
		longs[i] = (struct option){options[i].name, required_argument, NULL, i};
		*shorts++ = options[i].letter;
		*shorts++ = ':';
	}
	longs[OPTION_HELP] = (struct option){"help", no_argument, NULL, OPTION_HELP};
	longs[OPTION_VERSION] = (struct option){"version", no_argument, NULL, OPTION_VERSION};
	longs[OPTION_COUNT] = (struct option){0};
	*shorts++ = 'h';
	*shorts++ = 'V';
	*shorts = '\0';
}

static int flag_of_letter(int letter)
{
	if (letter < OPTION_COUNT) {
		return letter;
	}
	for (int i = 0; i < EDITOR_FLAG_COUNT; i++) {
		if (options[i].letter == letter) {
			return i;
		}
	}
	return letter == 'h' ? OPTION_HELP : OPTION_VERSION;
}

/* `argv` begins with the command's last word. */
static int parse_flags(int argc, char **argv, struct editor_args *args, struct error *err)
{
	struct option longs[OPTION_COUNT + 1];
	char shorts[2 * EDITOR_FLAG_COUNT + 4];
	int found;

	fill_getopt(longs, shorts);
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
		if (take_flag(args, flag_of_letter(found), optarg, err) < 0) {
			return -1;
		}
	}
	for (int i = optind; i < argc; i++) {
		if (add_regs(args, argv[i], err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int check(struct editor_args *args, struct error *err)
{
	const char *level = args->values[EDITOR_LEVEL];
	uint64_t number = COMPRESS_LEVEL;

	for (int i = 0; i < EDITOR_FLAG_COUNT; i++) {
		if ((args->command->required & BIT(i)) != 0 && args->values[i] == NULL) {
			return error_set(err, ERR_BAD_REQUEST,
					 "the following required argument was not provided: --%s "
					 "<%s>",
					 options[i].name, options[i].value);
		}
	}
	if (args->command->takes_regs && args->reg_count == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "the following required argument was not provided: <REGS>...");
	}
	if (level != NULL && (!flag_parse_u64(level, &number) || number < COMPRESS_LEVEL_MIN ||
			      number > COMPRESS_LEVEL_MAX)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--level is a number from %d to %d, not '%s'", COMPRESS_LEVEL_MIN,
				 COMPRESS_LEVEL_MAX, level);
	}
	args->level = (int)number;
	return 0;
}

int editor_args_parse(int argc, char **argv, struct editor_args *args, struct error *err)
{
	int words = 0;

	*args = (struct editor_args){0};
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		args->wants_help = true;
		return 0;
	}
	if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
		args->wants_version = true;
		return 0;
	}
	for (const struct editor_command *command = commands; command->name != NULL; command++) {
		words = match_command(command, argc, argv);
		if (words > 0) {
			args->command = command;
			break;
		}
	}
	if (argc < 2) {
		return error_set(err, ERR_BAD_REQUEST, "a subcommand is missing");
	}
	if (args->command == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "unrecognized subcommand '%s%s%s'", argv[1],
				 argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
	}
	if (parse_flags(argc - words, argv + words, args, err) < 0) {
		return -1;
	}
	return args->wants_help || args->wants_version ? 0 : check(args, err);
}

/* --- Help --- */

void editor_print_usage(const struct editor_command *command, FILE *out)
{
	fprintf(out, "%s", command->name);
	for (int i = 0; i < EDITOR_FLAG_COUNT; i++) {
		if ((command->required & BIT(i)) != 0) {
			fprintf(out, " --%s %s", options[i].name, options[i].value);
		}
	}
	for (int i = 0; i < EDITOR_FLAG_COUNT; i++) {
		if ((command->optional & BIT(i)) != 0) {
			fprintf(out, " [--%s %s]", options[i].name, options[i].value);
		}
	}
	fputs(command->takes_regs ? " REGS..." : "", out);
}

void editor_print_help(FILE *out)
{
	fputs("snapshot-editor: looks at, changes and signs the files of snapshots\n\n"
	      "Usage: snapshot-editor COMMAND [FLAGS]\n\nCommands:\n",
	      out);
	for (const struct editor_command *command = commands; command->name != NULL; command++) {
		fputs("  ", out);
		editor_print_usage(command, out);
		fprintf(out, "\n      %s\n", command->help);
	}
	fputs("\nFlags have short forms of their first letter: -m for --memory-path.\n"
	      "Exit status: 0 done, 1 failed or refused, 2 usage. More: man snapshot-editor.\n",
	      out);
}
