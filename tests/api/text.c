/* SPDX-License-Identifier: Apache-2.0 */
/* Text of the vectors. */
#include "tests/api/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/testbed.h"
#include "vmm/version.h"

enum {
	ANY = '\1' /* in a pattern: nothing, or whatever there is */
};

static bool add(struct text *out, const char *data, size_t len)
{
	if (len >= TEXT_MAX - out->len) {
		return false;
	}
	memcpy(out->at + out->len, data, len);
	out->len += len;
	out->at[out->len] = '\0';
	return true;
}

static bool add_char(struct text *out, char c)
{
	return add(out, &c, 1);
}

/* `at` is behind "${"; returns what is behind "}", or NULL. */
static const char *substitute(const char *at, const char *dir, struct text *out)
{
	const char *end = strchr(at, '}');
	char name[64];
	char path[PATH_LEN];
	const char *value = NULL;

	if (end == NULL || (size_t)(end - at) >= sizeof(name)) {
		return NULL;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(end - at), at);
	if (strcmp(name, "dir") == 0) {
		value = dir;
	} else if (strcmp(name, "version") == 0) {
		value = SQUIB_VERSION;
	} else if (strcmp(name, "arch") == 0) {
		value = is_x86() ? "x86_64" : "aarch64";
	} else if (strcmp(name, "*") == 0) {
		value = "\1";
	} else if (strncmp(name, "guest ", 6) == 0) {
		payload_path(name + 6, path);
		value = path;
	}
	return value != NULL && add(out, value, strlen(value)) ? end + 1 : NULL;
}

/* `at` is behind "\{": "c*N}". */
static const char *repeat(const char *at, struct text *out)
{
	char *end;
	char c = at[0];

	if (c == '\0' || at[1] != '*') {
		return NULL;
	}
	for (unsigned long count = strtoul(at + 2, &end, 10); count > 0; count--) {
		if (!add_char(out, c)) {
			return NULL;
		}
	}
	return *end == '}' ? end + 1 : NULL;
}

/* `at` is behind the backslash. */
static const char *escape(const char *at, struct text *out)
{
	static const char names[] = "rnt0\\";
	static const char values[] = "\r\n\t\0\\";
	const char *name = *at != '\0' ? strchr(names, *at) : NULL;
	unsigned byte;

	if (*at == '{') {
		return repeat(at + 1, out);
	}
	if (*at == 'x') {
		return sscanf(at + 1, "%2x", &byte) == 1 && add_char(out, (char)byte) ? at + 3
										      : NULL;
	}
	return name != NULL && add_char(out, values[name - names]) ? at + 1 : NULL;
}

const char *text_expand(const char *from, const char *dir, bool has_escapes, struct text *out)
{
	out->len = 0;
	out->at[0] = '\0';
	while (from != NULL && *from != '\0') {
		if (from[0] == '$' && from[1] == '{') {
			from = substitute(from + 2, dir, out);
		} else if (from[0] == '\\' && has_escapes) {
			from = escape(from + 1, out);
		} else {
			from = add_char(out, *from) ? from + 1 : NULL;
		}
	}
	return from == NULL ? "a substitution or escape that is unknown or too long" : NULL;
}

/* The next piece of the pattern without wildcards: from *at, which moves behind it. */
static size_t next_piece(const struct text *pattern, size_t *at)
{
	size_t begin = *at;

	while (*at < pattern->len && pattern->at[*at] != ANY) {
		(*at)++;
	}
	return *at - begin;
}

/*
 * Matches at the start of data, each piece as early as possible. Returns the length of the match,
 * (size_t)-1 without one.
 */
static size_t match_at(const struct text *pattern, const char *data, size_t len)
{
	size_t at = 0;
	size_t used = next_piece(pattern, &at);

	if (used > len || memcmp(pattern->at, data, used) != 0) {
		return (size_t)-1;
	}
	while (at < pattern->len) {
		size_t begin = ++at;
		size_t piece = next_piece(pattern, &at);
		const char *found = memmem(data + used, len - used, pattern->at + begin, piece);

		if (found == NULL) {
			return (size_t)-1;
		}
		used = (size_t)(found - data) + piece;
	}
	return used;
}

bool text_matches(const struct text *pattern, const char *data, size_t len)
{
	const char *last = memrchr(pattern->at, ANY, pattern->len);

	if (last == NULL) {
		return len == pattern->len && memcmp(data, pattern->at, len) == 0;
	}
	/* The last piece stands at the end; the rest matches early enough or not at all. */
	size_t tail = pattern->len - (size_t)(last + 1 - pattern->at);
	size_t used = match_at(pattern, data, len);

	return used != (size_t)-1 && len >= tail && memcmp(data + len - tail, last + 1, tail) == 0;
}

size_t text_find(const struct text *pattern, const char *data, size_t len)
{
	for (size_t at = 0; at < len; at++) {
		size_t used = match_at(pattern, data + at, len - at);

		if (used != (size_t)-1) {
			return at + used;
		}
	}
	return 0;
}

bool text_has_wildcard(const struct text *text)
{
	return memchr(text->at, ANY, text->len) != NULL;
}

const char *text_show(const char *data, size_t len, char shown[TEXT_SHOWN])
{
	size_t used = 0;

	shown[0] = '\0';
	for (size_t i = 0; i < len && used + 16 < TEXT_SHOWN; i++) {
		unsigned char c = (unsigned char)data[i];
		int count = c == '\r'		    ? snprintf(shown + used, 8, "\\r")
			    : c == '\n'		    ? snprintf(shown + used, 8, "\\n")
			    : c == ANY		    ? snprintf(shown + used, 8, "${*}")
			    : c < 0x20 || c == 0x7f ? snprintf(shown + used, 8, "\\x%02x", c)
						    : snprintf(shown + used, 8, "%c", c);

		used += (size_t)count;
	}
	if (used + 16 >= TEXT_SHOWN) {
		snprintf(shown + used, 16, "...");
	}
	return shown;
}
