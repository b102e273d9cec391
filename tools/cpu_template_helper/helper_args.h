/* SPDX-License-Identifier: Apache-2.0 */
/* cpu-template-helper's command line: Firecracker's commands [compat], and two more. */
#ifndef TOOLS_CPU_TEMPLATE_HELPER_HELPER_ARGS_H
#define TOOLS_CPU_TEMPLATE_HELPER_HELPER_ARGS_H

#include <stdio.h>

#include "tools/lib/commands.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum helper_flag {
	HELPER_CONFIG,
	HELPER_TEMPLATE,
	HELPER_OUTPUT,
	HELPER_PATHS,
	HELPER_SUFFIX,
	HELPER_PREV,
	HELPER_CURR,
	HELPER_FILTERS,
	HELPER_FLAG_COUNT
};

enum helper_task {
	HELPER_TEMPLATE_DUMP,
	HELPER_TEMPLATE_STRIP,
	HELPER_TEMPLATE_VERIFY,
	HELPER_FINGERPRINT_DUMP,
	HELPER_FINGERPRINT_COMPARE,
	HELPER_EXPLAIN,
	HELPER_COMMON,
};

/* Its tasks are enum helper_task, its options enum helper_flag. */
extern const struct command_table helper_commands;

/* Sets defaults too. On failure the message is for the user, exit status 2. */
MUST_CHECK int helper_args_parse(int argc, char **argv, struct command_line *line,
				 struct error *err);

void helper_print_help(FILE *out);

#endif
