/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of strangers' texts: what is kept of them, and what a terminal would obey. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tools/squibctl/ctl_clean.h"
#include "vmm/base/bytes.h"

Test(ctl_clean, what_a_terminal_obeys_becomes_spaces)
{
	static const struct {
		const char *text;
		const char *clean;
	} cases[] = {
		{"plain ~ text", "plain ~ text"},
		{"a\x1b[2J\x07\x7f", "a [2J  "},
		{"line\nline\ttab", "line\nline tab"},
		/* Characters of two, three and four bytes. */
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\xc2\xa0", "\xc2\xa0"},
		/* U+2027 and U+202F are letters' company, what is between moves others. */
		{"\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf"},
		{"a\xe2\x80\xa8z\xe2\x80\xae", "a   z   "},
		{"\xe2\x81\xa5\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa",
		 "\xe2\x81\xa5      \xe2\x81\xaa"},
		/* C1: as a character, and as a byte alone. */
		{"a\xc2\x9b"
		 "2J",
		 "a  2J"},
		{"a\x9b"
		 "2J",
		 "a 2J"},
		/* No UTF-8: overlong, a surrogate, beyond the last one, cut off. */
		{"\xc1\x9b", "  "},
		{"\xe0\x82\x9b", "   "},
		{"\xed\xa0\x80", "   "},
		{"\xf4\x90\x80\x80", "    "},
		{"\xe2\x82", "  "},
		{"\xe2"
		 "a",
		 " a"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char text[64];

		snprintf(text, sizeof(text), "%s", cases[i].text);
		clean_text(text, strlen(text), '\n');
		cr_expect_str_eq(text, cases[i].clean, "case %zu", i);
	}
}
