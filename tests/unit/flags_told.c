/* SPDX-License-Identifier: Apache-2.0 */
/* Compares a table of flags with the texts that tell of it. */
#include "tests/unit/flags_told.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/fd.h"

int argv_copy(const char *const argv[TOLD_ARGV_MAX], char *copy[TOLD_ARGV_MAX + 1])
{
	static char words[TOLD_ARGV_MAX][64];
	int argc = 0;

	for (; argc < TOLD_ARGV_MAX && argv[argc] != NULL; argc++) {
		strcpy(words[argc], argv[argc]);
		copy[argc] = words[argc];
	}
	copy[argc] = NULL;
	return argc;
}

char *document(const char *path)
{
	char *text = NULL;
	size_t len;
	struct error err = {0};

	cr_assert_eq(read_file(path, path, 1 << 20, &text, &len, &err), 0, "%s", err.msg);
	return text;
}

const char *roff(const char *word)
{
	static char text[80];
	char *out = text;

	for (; *word != '\0' && out + 3 < text + sizeof(text); word++) {
		if (*word == '-') {
			*out++ = '\\';
		}
		*out++ = *word;
	}
	*out = '\0';
	return text;
}

void expect_help_tells(const struct flag *flags, size_t count, void (*print_help)(FILE *out))
{
	static char help[8192];
	FILE *out = fmemopen(help, sizeof(help), "w");

	print_help(out);
	cr_assert_eq(fclose(out), 0);
	for (size_t i = 0; i < count; i++) {
		char line_start[64];

		(void)!snprintf(line_start, sizeof(line_start), "\n  --%s ", flags[i].name);
		char *line = strstr(help, line_start);

		cr_assert_not_null(line, "--help lacks %s", flags[i].name);
		cr_expect_null(strstr(line + 1, line_start), "%s twice", flags[i].name);
		cr_expect_not_null(strstr(line, flags[i].help));
	}
	for (char *line = strtok(help, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		cr_expect_leq(strlen(line), 100, "%s", line);
	}
}

void expect_page_tells(const struct flag *flags, size_t count, const char *path)
{
	char *page = document(path);

	for (size_t i = 0; i < count; i++) {
		const char *name = roff(flags[i].name);
		char entry[128];

		if (flags[i].value != NULL) {
			(void)!snprintf(entry, sizeof(entry), "\n.BI \\-\\-%s \" %s\"\n", name,
					flags[i].value);
		} else {
			(void)!snprintf(entry, sizeof(entry), "\n.B \\-\\-%s\n", name);
		}
		cr_expect_not_null(strstr(page, entry), "%s lacks%s", path, entry);
	}
	free(page);
}

void expect_page_has_commands(const char *path, const struct command_table *table)
{
	AUTO_FREE char *page = document(path);

	for (const struct command *command = table->commands; command->name != NULL; command++) {
		char entry[120];

		(void)snprintf(entry, sizeof(entry), "\n.B %s\n", roff(command->name));
		char *at = strstr(page, entry);

		cr_assert_not_null(at, "%s lacks%s", path, entry);
		char *end = strstr(at, "\n.TP");

		for (size_t i = 0; i < table->option_count; i++) {
			if (((command->required | command->optional) & COMMAND_BIT(i)) == 0) {
				continue;
			}
			(void)snprintf(entry, sizeof(entry), "\\-\\-%s",
				       roff(table->options[i].name));
			char *found = strstr(at, entry);

			cr_expect(found != NULL && (end == NULL || found < end), "%s: %s lacks %s",
				  path, command->name, entry);
		}
	}
}
