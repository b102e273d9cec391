/* SPDX-License-Identifier: Apache-2.0 */
/* Reads snapshot-editor's command line. */
#include "tools/snapshot_editor/editor_args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/snapshot_editor/compress.h"
#include "vmm/base/bytes.h"
#include "vmm/base/flags.h"

enum {
	NUMBER_LEN_MAX = 20
};

#define BIT(flag) COMMAND_BIT(flag)

static const struct command_option options[EDITOR_FLAG_COUNT] = {
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

static const struct command commands[] = {
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
	 .operands = "REGS"},
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

const struct command_table editor_commands = {commands, options, EDITOR_FLAG_COUNT};

/* --- Words --- */

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

/* --- The line --- */

static int read_level(struct editor_args *args, struct error *err)
{
	const char *level = args->values[EDITOR_LEVEL];
	uint64_t number = COMPRESS_LEVEL;

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
	struct command_line line;
	int result = command_parse(&editor_commands, argc, argv, &line, err);

	*args = (struct editor_args){
		.wants_help = line.wants_help,
		.wants_version = line.wants_version,
		.command = line.command,
	};
	if (result < 0 || line.wants_help || line.wants_version) {
		return result;
	}
	for (size_t i = 0; i < line.word_count; i++) {
		if (add_regs(args, line.words[i], err) < 0) {
			return -1;
		}
	}
	memcpy(args->values, line.values, sizeof(args->values));
	return read_level(args, err);
}

void editor_print_help(FILE *out)
{
	fputs("snapshot-editor: looks at, changes and signs the files of snapshots\n\n"
	      "Usage: snapshot-editor COMMAND [FLAGS]\n\nCommands:\n",
	      out);
	command_print_all(&editor_commands, out);
	fputs("\nFlags have short forms of their first letter: -m for --memory-path.\n"
	      "Exit status: 0 done, 1 failed or refused, 2 usage. More: man snapshot-editor.\n",
	      out);
}
