/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/text.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "vmm/base/text.h"

Test(text, pieces_follow_each_other)
{
	char buf[16];
	struct text text;

	memset(buf, 'x', sizeof(buf));
	text_init(&text, buf, sizeof(buf));
	cr_assert(buf[0] == '\0' && text.len == 0);
	text_add(&text, "%s", "");
	text_add(&text, "%u, ", 1U);
	text_add(&text, "%s", "two");
	cr_assert_str_eq(buf, "1, two");
	cr_assert(text.len == 6 && !text.is_cut);
}

Test(text, a_text_is_cut_where_its_buffer_ends_and_stays_so)
{
	for (size_t cap = 1; cap < 12; cap++) {
		char buf[12];
		struct text text;

		memset(buf, 'x', sizeof(buf));
		text_init(&text, buf, cap);
		text_add(&text, "01234");
		text_add(&text, "5678");
		text_add(&text, "%s", cap == 10 ? "" : "9");
		cr_expect(strlen(buf) == (cap <= 10 ? cap - 1 : 10), "%zu: %s", cap, buf);
		cr_expect(strncmp(buf, "0123456789", strlen(buf)) == 0, "%zu: %s", cap, buf);
		cr_expect(text.len == strlen(buf) && text.is_cut == (cap < 10));
		cr_expect(buf[cap] == 'x', "%zu", cap);
	}
}

Test(text, what_follows_a_cut_piece_is_left_out)
{
	char buf[4];
	struct text text;

	text_init(&text, buf, sizeof(buf));
	text_add(&text, "ab");
	text_add(&text, "cde");
	text_add(&text, "f");
	text_add(&text, "%s", "");
	cr_assert_str_eq(buf, "abc");
	cr_assert(text.is_cut);
	text_init(&text, buf, sizeof(buf));
	cr_assert(!text.is_cut);
	text_add(&text, "abcd");
	cr_assert(text.is_cut && text.len == 3, "the NUL does not fit");
}
