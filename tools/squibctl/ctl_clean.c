/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of strangers. */
#include "tools/squibctl/ctl_clean.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* Characters that are printed, by their first byte and their second [unicode 3.9, table 3-7]. */
static const struct {
	uint8_t first_min, first_max;
	uint8_t second_min, second_max;
	uint8_t len;
} printed[] = {
	{0x20, 0x7e, 0, 0, 1},	     {0xc2, 0xc2, 0xa0, 0xbf, 2}, /* below are the C1 */
	{0xc3, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
	{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/*
 * Those that change lines, or the order in which others are shown, so that one column looks like
 * another: U+2028 to U+202E, U+2066 to U+2069 [unicode tr9].
 */
static bool is_layout(const uint8_t *text)
{
	return text[0] == 0xe2 && ((text[1] == 0x80 && text[2] >= 0xa8 && text[2] <= 0xae) ||
				   (text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9));
}

/* Bytes of the character at `text`; 0: it is none that is printed. */
static size_t char_len(const uint8_t *text, size_t len)
{
	size_t row = 0;

	while (row < ARRAY_COUNT(printed) && text[0] > printed[row].first_max) {
		row++;
	}
	if (row == ARRAY_COUNT(printed) || text[0] < printed[row].first_min ||
	    printed[row].len > len) {
		return 0;
	}
	for (size_t i = 1; i < printed[row].len; i++) {
		uint8_t min = i == 1 ? printed[row].second_min : 0x80;
		uint8_t max = i == 1 ? printed[row].second_max : 0xbf;

		if (text[i] < min || text[i] > max) {
			return 0;
		}
	}
	return printed[row].len == 3 && is_layout(text) ? 0 : printed[row].len;
}

void clean_text(char *text, size_t len, char kept)
{
	size_t at = 0;

	while (at < len) {
		size_t taken = char_len((const uint8_t *)text + at, len - at);

		if (taken == 0 && text[at] != kept) {
			text[at] = ' ';
		}
		at += taken > 0 ? taken : 1;
	}
}

void clean_print(FILE *out, const char *text)
{
	AUTO_FREE char *own = strdup(text);

	if (own != NULL) {
		clean_text(own, strlen(own), '\0');
		fputs(own, out);
	}
}
