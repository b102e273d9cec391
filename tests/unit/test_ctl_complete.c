/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/squibctl/ctl_complete.c: what is offered at the cursor. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/flags_told.h"
#include "tools/squibctl/ctl_complete.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	WORDS_MAX = 8
};

/* What is printed for a line, with spaces between its words; the cursor is at its end. On the heap.
 */
static char *completed(const char *line)
{
	char *words[WORDS_MAX];
	AUTO_FREE char *copy = strdup(line);
	char *text = NULL;
	char *rest = copy;
	size_t len = 0;
	int count = 0;
	FILE *out = open_memstream(&text, &len);

	while (rest != NULL && count < WORDS_MAX) {
		words[count++] = strsep(&rest, " ");
	}
	ctl_complete(count, words, out);
	fclose(out);
	return text;
}

Test(ctl_complete, each_place_has_its_kind_of_words)
{
	static const struct {
		const char *line;
		const char
			*offered; /* a line of the answer, or its beginning; NULL: nothing at all */
	} cases[] = {
		{"", "\nstatus\t"},
		{"stat", "\nstatus\t"},
		{"-s x sta", "\nstart\t"},
		{"frob ", NULL},
		{"-", "\n--socket\t"},
		{"snapshot --st", "\n--state-only\t"},
		{"mem ", "\nshow\tmem\n"},
		{"mem s", "\nset\tmem\n"},
		{"mem show ", NULL},
		{"metadata e", "\nedit\t"},
		{"metadata set @a", "\n:files\n"},
		{"metadata set a", NULL},
		{"pool ", "\ntake\t"},
		{"pool -n 3 start ", "\n:directories\n"},
		{"pool start --of ", "\n:directories\n"},
		{"overlay create ", "\n:files\n"},
		{"overlay flatten a ", "\n:files\n"},
		{"get /vm/", "\n/vm/config\t"},
		{"put /vm @", "\n:files\n"},
		{"load ", "\n:files\n"},
		{"cp ", "\n:files\n"},
		{"run -v ", "\n:files\n"},
		{"fork --name ", NULL},
		{"load a b ", NULL},
		{"run ", "\n:files\n"},
		{"run image ", NULL},
		{"run image --", NULL},
		{"run --kernel ", "\n:files\n"},
		{"run -e ", NULL},
		{"run --kernel=vmlinux ", "\n:files\n"},
		{"run -t ", "\n:files\n"},
		{"stop -t ", NULL},
		{"-s ", "\n:files\n"},
		{"run --kernel vmlinux --tt", "\n--tty\t"},
		{"get -- -", NULL},
		{"status ", NULL},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		AUTO_FREE char *got = completed(cases[i].line);
		AUTO_FREE char *lines = NULL;

		cr_assert_gt(asprintf(&lines, "\n%s", got), 0);
		if (cases[i].offered != NULL) {
			cr_expect_not_null(strstr(lines, cases[i].offered), "'%s' offers '%s'",
					   cases[i].line, got);
		} else {
			cr_expect_str_eq(got, "", "'%s'", cases[i].line);
		}
	}
}

Test(ctl_complete, only_what_goes_with_the_command_is_offered)
{
	AUTO_FREE char *got = completed("snapshot --");

	cr_expect_not_null(strstr(got, "--live\t"));
	cr_expect_not_null(strstr(got, "--help\t"));
	cr_expect_null(strstr(got, "--state\t"));
}

Test(ctl_complete, all_paths_of_the_api_are_offered)
{
	AUTO_FREE char *api = document("api/squib.yaml");
	AUTO_FREE char *got = completed("get ");
	unsigned count = 0;

	for (char *line = strtok(api, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		char path[64];
		char entry[80];

		if (sscanf(line, "  %63[/a-z-]", path) == 1 && path[0] == '/') {
			snprintf(entry, sizeof(entry), "%s\t", path);
			cr_expect_not_null(strstr(got, entry), "%s is not offered", path);
			count++;
		}
	}
	cr_expect_gt(count, 30);
}
