/* SPDX-License-Identifier: Apache-2.0 */
/* Monitors to compare, as arguments: NAME COMMAND... [-- NAME COMMAND...] */
#ifndef TESTS_BENCH_COMMANDS_H
#define TESTS_BENCH_COMMANDS_H

#include <string.h>
#include <unistd.h>

enum {
	COMMANDS_MAX = 12
};

struct command {
	const char *name;
	char **args; /* NULL at their end */
};

/* What getopt(3) has left of argv, which gets the NULLs. */
static inline unsigned parse_commands(int argc, char **argv, struct command *commands)
{
	unsigned count = 0;

	while (optind + 1 < argc && count < COMMANDS_MAX) {
		commands[count++] = (struct command){argv[optind], argv + optind + 1};
		while (optind < argc && strcmp(argv[optind], "--") != 0) {
			optind++;
		}
		if (optind < argc) {
			argv[optind++] = NULL;
		}
	}
	return count;
}

#endif
