/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names faults of JSON's syntax.
 *
 * Theory of operation. jansson has refused the text already; it is read once more, value by value,
 * by the grammar [rfc8259]. A stack of bits says which of the open brackets are of objects. A fault
 * that is seen by looking at the next byte has that byte's place; one that is found by reading it
 * has the same, since places count bytes read; at the end of the text both are its length.
 */
#include "vmm/base/json_syntax.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "vmm/base/json.h"

struct scan {
	const char *text;
	size_t len;
	size_t at;
	size_t depth;
	bool is_object[JSON_DEPTH_MAX];
};

static const char eof_value[] = "EOF while parsing a value";
static const char eof_string[] = "EOF while parsing a string";
static const char invalid_number[] = "invalid number";
static const char invalid_escape[] = "invalid escape";

/* The next byte, or -1 at the end. */
static int peek(const struct scan *scan)
{
	return scan->at < scan->len ? (unsigned char)scan->text[scan->at] : -1;
}

static int peek_token(struct scan *scan)
{
	int c = peek(scan);

	while (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
		scan->at++;
		c = peek(scan);
	}
	return c;
}

/* `at_end` where the text ends, else `fault`, with the byte that is wrong. */
static const char *fail(struct scan *scan, const char *at_end, const char *fault)
{
	if (scan->at >= scan->len) {
		return at_end;
	}
	scan->at++;
	return fault;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static const char *scan_digits(struct scan *scan)
{
	if (!is_digit(peek(scan))) {
		return fail(scan, eof_value, invalid_number);
	}
	while (is_digit(peek(scan))) {
		scan->at++;
	}
	return NULL;
}

static const char *scan_number(struct scan *scan)
{
	const char *fault;

	scan->at += peek(scan) == '-' ? 1 : 0;
	if (peek(scan) == '0') {
		scan->at++;
		fault = is_digit(peek(scan)) ? fail(scan, eof_value, invalid_number) : NULL;
	} else {
		fault = scan_digits(scan);
	}
	if (fault == NULL && peek(scan) == '.') {
		scan->at++;
		fault = scan_digits(scan);
	}
	if (fault == NULL && (peek(scan) == 'e' || peek(scan) == 'E')) {
		scan->at++;
		scan->at += peek(scan) == '+' || peek(scan) == '-' ? 1 : 0;
		fault = scan_digits(scan);
	}
	return fault;
}

static const char *scan_word(struct scan *scan, const char *word)
{
	for (; *word != '\0'; word++) {
		if (peek(scan) != *word) {
			return fail(scan, eof_value, "expected ident");
		}
		scan->at++;
	}
	return NULL;
}

/* The four digits of an escape. */
static const char *scan_hex(struct scan *scan, unsigned *unit)
{
	static const char digits[] = "0123456789abcdef";
	bool is_valid = true;

	*unit = 0;
	if (scan->len - scan->at < 4) {
		scan->at = scan->len;
		return eof_string;
	}
	for (int i = 0; i < 4; i++) {
		int c = peek(scan);
		const char *digit =
			c == 0 ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c | 0x20 : c);

		is_valid &= digit != NULL;
		*unit = *unit << 4 | (digit != NULL ? (unsigned)(digit - digits) : 0);
		scan->at++;
	}
	return is_valid ? NULL : invalid_escape;
}

/* After "\u". A leading surrogate needs a trailing one, as an escape of its own. */
static const char *scan_unicode(struct scan *scan)
{
	static const char lone[] = "lone leading surrogate in hex escape";
	unsigned unit;
	const char *fault = scan_hex(scan, &unit);

	if (fault != NULL || unit < 0xd800 || unit > 0xdfff) {
		return fault;
	}
	if (unit >= 0xdc00) {
		return lone;
	}
	for (const char *want = "\\u"; *want != '\0'; want++) {
		if (peek(scan) != *want) {
			return fail(scan, eof_string, "unexpected end of hex escape");
		}
		scan->at++;
	}
	fault = scan_hex(scan, &unit);
	return fault == NULL && (unit < 0xdc00 || unit > 0xdfff) ? lone : fault;
}

static const char *scan_escape(struct scan *scan)
{
	int c = peek(scan);

	if (c <= 0 || strchr("\"\\/bfnrtu", c) == NULL) {
		return fail(scan, eof_string, invalid_escape);
	}
	scan->at++;
	return c == 'u' ? scan_unicode(scan) : NULL;
}

/* At the opening quote. */
static const char *scan_string(struct scan *scan)
{
	const char *fault = NULL;

	scan->at++;
	while (fault == NULL && peek(scan) != '"') {
		int c = peek(scan);

		if (c < 0x20) {
			return fail(scan, eof_string,
				    "control character (\\u0000-\\u001F) found while parsing a "
				    "string");
		}
		scan->at++;
		fault = c == '\\' ? scan_escape(scan) : NULL;
	}
	scan->at += fault == NULL ? 1 : 0;
	return fault;
}

/* A key and its colon. */
static const char *scan_key(struct scan *scan)
{
	const char *fault = scan_string(scan);

	if (fault != NULL) {
		return fault;
	}
	if (peek_token(scan) != ':') {
		return fail(scan, "EOF while parsing an object", "expected `:`");
	}
	scan->at++;
	return NULL;
}

/* A bracket that opens; *is_empty says that it closes at once. */
static const char *scan_open(struct scan *scan, bool is_object, bool *is_empty)
{
	scan->at++;
	*is_empty = peek_token(scan) == (is_object ? '}' : ']');
	if (*is_empty) {
		scan->at++;
		return NULL;
	}
	scan->is_object[scan->depth++] = is_object;
	if (!is_object) {
		return peek(scan) < 0 ? "EOF while parsing a list" : NULL;
	}
	if (peek(scan) != '"') {
		return fail(scan, "EOF while parsing an object", "key must be a string");
	}
	return scan_key(scan);
}

/* A comma, and what is between it and the next value. */
static const char *scan_comma(struct scan *scan, bool is_object)
{
	scan->at++;
	int c = peek_token(scan);

	if (c < 0) {
		return eof_value;
	}
	if (c == (is_object ? '}' : ']')) {
		return fail(scan, eof_value, "trailing comma");
	}
	if (!is_object) {
		return NULL;
	}
	return c == '"' ? scan_key(scan) : fail(scan, eof_value, "key must be a string");
}

/* What follows a value, up to the next one; *is_done after the last. */
static const char *scan_next(struct scan *scan, bool *is_done)
{
	while (scan->depth > 0) {
		bool is_object = scan->is_object[scan->depth - 1];
		int c = peek_token(scan);

		if (c == ',') {
			return scan_comma(scan, is_object);
		}
		if (c != (is_object ? '}' : ']')) {
			return is_object ? fail(scan, "EOF while parsing an object",
						"expected `,` or `}`")
					 : fail(scan, "EOF while parsing a list",
						"expected `,` or `]`");
		}
		scan->at++;
		scan->depth--;
	}
	*is_done = true;
	return peek_token(scan) >= 0 ? fail(scan, NULL, "trailing characters") : NULL;
}

/* The first byte of a value decides what it is; *is_open: values follow inside it. */
static const char *scan_value(struct scan *scan, bool *is_open)
{
	int c = peek_token(scan);
	bool is_empty;
	const char *fault;

	*is_open = false;
	switch (c) {
	case '"':
		return scan_string(scan);
	case 'n':
		return scan_word(scan, "null");
	case 't':
		return scan_word(scan, "true");
	case 'f':
		return scan_word(scan, "false");
	case '{':
	case '[':
		fault = scan_open(scan, c == '{', &is_empty);
		*is_open = !is_empty;
		return fault;
	default:
		return c == '-' || is_digit(c) ? scan_number(scan)
					       : fail(scan, eof_value, "expected value");
	}
}

const char *json_syntax_fault(const char *text, size_t len, size_t *at)
{
	struct scan scan = {.text = text, .len = len};
	const char *fault = NULL;
	bool is_done = false;

	while (fault == NULL && !is_done && scan.depth < JSON_DEPTH_MAX) {
		bool is_open;

		fault = scan_value(&scan, &is_open);
		if (fault == NULL && !is_open) {
			fault = scan_next(&scan, &is_done);
		}
	}
	*at = scan.at;
	return fault;
}
