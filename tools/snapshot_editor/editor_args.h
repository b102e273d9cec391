/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot-editor's command line: commands as a table, in the grammar of Firecracker's tool. */
#ifndef TOOLS_SNAPSHOT_EDITOR_EDITOR_ARGS_H
#define TOOLS_SNAPSHOT_EDITOR_EDITOR_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/lib/commands.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* What flags give; each is in the table of flags under its long name. */
enum editor_flag {
	EDITOR_MEMORY_PATH,
	EDITOR_DIFF_PATH,
	EDITOR_VMSTATE_PATH,
	EDITOR_OUTPUT_PATH,
	EDITOR_COMPRESSED_PATH,
	EDITOR_SIGNATURE_PATH,
	EDITOR_KEY,
	EDITOR_LEVEL,
	EDITOR_FLAG_COUNT
};

enum editor_task {
	EDITOR_REBASE,
	EDITOR_REMOVE_REGS,
	EDITOR_INFO_VERSION,
	EDITOR_INFO_VCPU_STATES,
	EDITOR_INFO_VM_STATE,
	EDITOR_VERIFY,
	EDITOR_COMPRESS,
	EDITOR_DECOMPRESS,
	EDITOR_KEYGEN,
	EDITOR_SIGN,
	EDITOR_CHECK,
};

enum {
	EDITOR_REGS_MAX = 256
};

struct editor_args {
	bool wants_help;
	bool wants_version;
	const struct command *command;
	const char *values[EDITOR_FLAG_COUNT]; /* of argv; NULL: not given */
	int level;
	uint64_t regs[EDITOR_REGS_MAX];
	size_t reg_count;
};

/* The table, for help and tests. Its tasks are enum editor_task. */
extern const struct command_table editor_commands;

/* On failure the message is for the user, exit status 2. */
MUST_CHECK int editor_args_parse(int argc, char **argv, struct editor_args *args,
				 struct error *err);

void editor_print_help(FILE *out);

#endif
