/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of strangers against a second reader, which has the grammar alone [rfc8259]: what one takes
 * the other takes. Squib refuses more: deeper nesting, numbers beyond a double, NULs in names; with
 * names that come twice, and NULs in values, only where content is not free.
 */
#include <math.h>
#include <stdio.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/base/json.h"

struct reader {
	const uint8_t *at;
	const uint8_t *end;
	unsigned depth;
	bool is_refused; /* by squib, though it is JSON */
};

static bool read_value(struct reader *reader);

static int peek(const struct reader *reader)
{
	return reader->at < reader->end ? *reader->at : -1;
}

static bool take(struct reader *reader, int c)
{
	if (peek(reader) != c) {
		return false;
	}
	reader->at++;
	return true;
}

static void skip_space(struct reader *reader)
{
	while (take(reader, ' ') || take(reader, '\t') || take(reader, '\r') ||
	       take(reader, '\n')) {
	}
}

static bool take_word(struct reader *reader, const char *word)
{
	for (; *word != '\0'; word++) {
		if (!take(reader, *word)) {
			return false;
		}
	}
	return true;
}

static bool take_between(struct reader *reader, int first, int last)
{
	int c = peek(reader);

	if (c < first || c > last) {
		return false;
	}
	reader->at++;
	return true;
}

static bool take_digits(struct reader *reader)
{
	if (!take_between(reader, '0', '9')) {
		return false;
	}
	while (take_between(reader, '0', '9')) {
	}
	return true;
}

static bool read_number(struct reader *reader)
{
	const char *begin = (const char *)reader->at;
	char *text;

	(void)take(reader, '-');
	if (!take(reader, '0') && !take_digits(reader)) {
		return false;
	}
	if (take(reader, '.') && !take_digits(reader)) {
		return false;
	}
	if (take(reader, 'e') || take(reader, 'E')) {
		if (!take(reader, '+')) {
			(void)take(reader, '-');
		}
		if (!take_digits(reader)) {
			return false;
		}
	}
	require(asprintf(&text, "%.*s", (int)((const char *)reader->at - begin), begin) >= 0);
	reader->is_refused |= isinf(strtod(text, NULL));
	free(text);
	return true;
}

static bool read_hex(struct reader *reader, unsigned *value)
{
	*value = 0;
	for (int i = 0; i < 4; i++) {
		int c = peek(reader);

		if (take_between(reader, '0', '9')) {
			*value = *value * 16 + (unsigned)(c - '0');
		} else if (take_between(reader, 'a', 'f') || take_between(reader, 'A', 'F')) {
			*value = *value * 16 + (unsigned)((c | 0x20) - 'a') + 10;
		} else {
			return false;
		}
	}
	return true;
}

/* Behind the backslash. Half a pair of UTF-16 is no character. */
static bool read_escape(struct reader *reader, bool is_name)
{
	unsigned value;
	unsigned low;

	if (!take(reader, 'u')) {
		int c = peek(reader);

		return c > 0 && strchr("\"\\/bfnrt", c) != NULL && take(reader, c);
	}
	if (!read_hex(reader, &value) || (value >= 0xdc00 && value < 0xe000)) {
		return false;
	}
	reader->is_refused |= value == 0 && is_name;
	if (value < 0xd800 || value >= 0xe000) {
		return true;
	}
	return take(reader, '\\') && take(reader, 'u') && read_hex(reader, &low) && low >= 0xdc00 &&
	       low < 0xe000;
}

/* A character of more than one byte, as its number says. */
static bool read_utf8(struct reader *reader)
{
	int lead = *reader->at++;
	int more = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
	unsigned value = (unsigned)lead & (0x3fU >> more);
	static const unsigned least[] = {0, 0x80, 0x800, 0x10000};

	if (more == 0) {
		return false;
	}
	for (int i = 0; i < more; i++) {
		int c = peek(reader);

		if (!take_between(reader, 0x80, 0xbf)) {
			return false;
		}
		value = value << 6 | ((unsigned)c & 0x3f);
	}
	return value >= least[more] && value <= 0x10ffff && (value < 0xd800 || value > 0xdfff);
}

static bool read_string(struct reader *reader, bool is_name)
{
	if (!take(reader, '"')) {
		return false;
	}
	while (!take(reader, '"')) {
		int c = peek(reader);

		if (c < 0x20) {
			return false;
		}
		if (c >= 0x80 ? !read_utf8(reader)
			      : (reader->at++, c == '\\' && !read_escape(reader, is_name))) {
			return false;
		}
	}
	return true;
}

static bool read_member(struct reader *reader)
{
	skip_space(reader);
	if (!read_string(reader, true)) {
		return false;
	}
	skip_space(reader);
	return take(reader, ':') && read_value(reader);
}

/* Behind the opening bracket. */
static bool read_items(struct reader *reader, bool (*read)(struct reader *reader), int end)
{
	reader->depth++;
	reader->is_refused |= reader->depth > JSON_DEPTH_MAX;
	skip_space(reader);
	if (!take(reader, end)) {
		do {
			if (!read(reader)) {
				return false;
			}
			skip_space(reader);
		} while (take(reader, ','));
		if (!take(reader, end)) {
			return false;
		}
	}
	reader->depth--;
	return true;
}

static bool read_value(struct reader *reader)
{
	bool is_good;

	/* It is refused in any case, and the stack is not without end. */
	if (reader->depth > JSON_DEPTH_MAX) {
		return false;
	}
	skip_space(reader);
	switch (peek(reader)) {
	case '{':
		reader->at++;
		is_good = read_items(reader, read_member, '}');
		break;
	case '[':
		reader->at++;
		is_good = read_items(reader, read_value, ']');
		break;
	case '"':
		is_good = read_string(reader, false);
		break;
	case 't':
		is_good = take_word(reader, "true");
		break;
	case 'f':
		is_good = take_word(reader, "false");
		break;
	case 'n':
		is_good = take_word(reader, "null");
		break;
	default:
		is_good = read_number(reader);
		break;
	}
	skip_space(reader);
	return is_good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader reader = {.at = data, .end = data + size};
	bool is_json = read_value(&reader) && reader.at == reader.end;
	struct json_doc doc;
	struct error err = {0};
	struct error strict_err = {0};
	int loaded = json_doc_load_content((const char *)data, size, "Bad", &doc, &err);

	require((loaded == 0) == (is_json && !reader.is_refused));
	if (loaded < 0) {
		require_fault(&err);
	} else {
		json_doc_free(&doc);
	}
	/* The strict one takes no more than that. */
	if (json_doc_load((const char *)data, size, "Bad", &doc, &strict_err) == 0) {
		require(loaded == 0);
		json_doc_free(&doc);
	} else {
		require_fault(&strict_err);
	}
	return 0;
}
