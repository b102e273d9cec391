/* SPDX-License-Identifier: Apache-2.0 */
/* Text of the vectors: substitutions, escapes, and patterns with parts that may be anything. */
#ifndef TESTS_API_TEXT_H
#define TESTS_API_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum {
	TEXT_MAX = 256 * 1024,
	TEXT_SHOWN = 2000
};

struct text {
	size_t len;
	char at[TEXT_MAX]; /* with a NUL behind */
};

/*
 * Replaces ${dir}, ${version}, ${arch}, ${guest NAME} (a payload's path) and ${*} (anything); with
 * has_escapes also \r \n \t \0 \\ \xHH and \{c*N}, which is N times the character c. NULL, or what
 * is wrong with `from`.
 */
const char *text_expand(const char *from, const char *dir, bool has_escapes, struct text *out);

/* Whether all of `data` is as the pattern says. */
bool text_matches(const struct text *pattern, const char *data, size_t len);

/* Where in `data` the first match of the pattern ends; 0: it has none. */
size_t text_find(const struct text *pattern, const char *data, size_t len);

bool text_has_wildcard(const struct text *text);

/* For messages: on one line, cut where it is long. */
const char *text_show(const char *data, size_t len, char shown[TEXT_SHOWN]);

#endif
