/* SPDX-License-Identifier: Apache-2.0 */
/* Strict loading of JSON, and where in the text its values are.
 *
 * Theory of operation
 *
 * jansson decides what is JSON; nothing here does. Before it parses, check_depth counts brackets
 * outside of strings, since jansson recurses once per level. jansson does not keep where a value
 * was, but it keeps members in the order of the text, so a walk over an object steps through
 * jansson's members and through the text side by side. The steps trust that the text is valid JSON
 * only for the place in a message: they never leave [0, len).
 *
 * jansson's integers have a sign, and those of clients may have none. So an integer n of 2^63 to
 * 2^64 - 1 is one of -1 to -2^63 to jansson, 2^63 - 1 - n, which is never longer as text: a text
 * that has any is parsed as a copy of the same length. The text tells them from negative ones.
 */
#include "vmm/base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/json_syntax.h"
#include "vmm/base/text.h"

/* --- Steps through the text --- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t skip_space(const struct json_doc *doc, size_t at)
{
	while (at < doc->len && is_space(doc->text[at])) {
		at++;
	}
	return at;
}

/* `at` is the opening quote; returns the offset after the closing one. */
static size_t skip_string(const struct json_doc *doc, size_t at)
{
	for (at++; at < doc->len; at++) {
		if (doc->text[at] == '\\') {
			at++;
		} else if (doc->text[at] == '"') {
			return at + 1;
		}
	}
	return doc->len;
}

/* A number or a word: up to what may follow a value. */
static size_t skip_scalar(const struct json_doc *doc, size_t at)
{
	while (at < doc->len && !is_space(doc->text[at]) && doc->text[at] != ',' &&
	       doc->text[at] != ']' && doc->text[at] != '}') {
		at++;
	}
	return at;
}

struct json_token json_token_next(const char *text, size_t len, size_t at)
{
	const struct json_doc doc = {.text = text, .len = len};
	struct json_token token = {.start = skip_space(&doc, at)};
	char c;

	if (token.start >= len) {
		token.end = len;
		return token;
	}
	c = text[token.start];
	if (c == '"') {
		token.kind = JSON_TOKEN_STRING;
		token.end = skip_string(&doc, token.start);
	} else if (c == '-' || is_digit(c)) {
		token.kind = JSON_TOKEN_NUMBER;
		token.end = skip_scalar(&doc, token.start);
	} else {
		token.kind = JSON_TOKEN_OTHER;
		token.end = strchr("[]{},:", c) != NULL ? token.start + 1
							: skip_scalar(&doc, token.start);
	}
	return token;
}

static size_t skip_value(const struct json_doc *doc, size_t at)
{
	size_t depth = 0;

	while (at < doc->len) {
		char c = doc->text[at];

		if (c == '"') {
			at = skip_string(doc, at);
		} else if (c == '{' || c == '[') {
			depth++;
			at++;
		} else if (depth == 0) {
			return skip_scalar(doc, at);
		} else {
			depth -= c == '}' || c == ']' ? 1 : 0;
			at++;
		}
		if (depth == 0) {
			return at;
		}
	}
	return doc->len;
}

size_t json_value_end(const struct json_value *value)
{
	return skip_value(value->doc, value->start);
}

struct json_value json_doc_root(const struct json_doc *doc)
{
	return (struct json_value){doc, doc->root, skip_space(doc, 0)};
}

/* `at` is before the key, on white space or a comma. */
static struct json_member member_at(const struct json_value *object, void *iter, size_t at)
{
	const struct json_doc *doc = object->doc;
	struct json_member member = {.value.doc = doc, .iter = iter};

	if (iter == NULL) {
		return member;
	}
	at = skip_space(doc, at);
	if (at < doc->len && doc->text[at] == ',') {
		at = skip_space(doc, at + 1);
	}
	member.key = json_object_iter_key(iter);
	member.key_end = skip_string(doc, at);

	size_t colon = skip_space(doc, member.key_end);

	member.value.json = json_object_iter_value(iter);
	member.value.start = skip_space(doc, colon < doc->len ? colon + 1 : doc->len);
	return member;
}

struct json_member json_member_first(const struct json_value *object)
{
	return member_at(object, json_object_iter(object->json), object->start + 1);
}

struct json_member json_member_next(const struct json_value *object,
				    const struct json_member *member)
{
	return member_at(object, json_object_iter_next(object->json, member->iter),
			 json_value_end(&member->value));
}

struct json_value json_element(const struct json_value *array, size_t i,
			       const struct json_value *before)
{
	const struct json_doc *doc = array->doc;
	size_t at = skip_space(doc, before != NULL ? json_value_end(before) : array->start);

	/* On the opening bracket or a comma. */
	return (struct json_value){doc, json_array_get(array->json, i),
				   skip_space(doc, at < doc->len ? at + 1 : at)};
}

/* --- Numbers --- */

enum {
	NUMBER_LEN = 312, /* any integer below 10^309, as all doubles are, with sign and NUL */
	U64_DIGITS = 20,
};

/*
 * Copies the integer at `at` and returns the offset after it. 0: it has a fraction or exponent, or
 * too many digits.
 */
static size_t copy_integer(const char *text, size_t len, size_t at, char number[NUMBER_LEN])
{
	size_t count = 0;

	if (at < len && text[at] == '-') {
		number[count++] = text[at++];
	}
	size_t sign = count;

	while (count < NUMBER_LEN - 1 && at < len && is_digit(text[at])) {
		number[count++] = text[at++];
	}
	number[count] = '\0';
	if (count == sign || (at < len && (is_digit(text[at]) || text[at] == '.' ||
					   text[at] == 'e' || text[at] == 'E'))) {
		return 0;
	}
	return at;
}

static bool parse_u64(const char *number, uint64_t *value)
{
	errno = 0;
	*value = strtoull(number, NULL, 10);
	return number[0] != '-' && errno == 0;
}

/* For jansson. */
static bool is_too_large(const char *number)
{
	errno = 0;
	(void)strtoll(number, NULL, 10);
	return errno == ERANGE;
}

/* Between n and what stands for it, either way. */
static uint64_t mirror(uint64_t n)
{
	return (uint64_t)INT64_MAX - n;
}

bool json_value_u64(const struct json_value *value, uint64_t *number)
{
	char text[NUMBER_LEN];

	return json_is_number(value->json) &&
	       copy_integer(value->doc->text, value->doc->len, value->start, text) != 0 &&
	       parse_u64(text, number);
}

double json_value_real(const struct json_value *value)
{
	char text[NUMBER_LEN];

	return copy_integer(value->doc->text, value->doc->len, value->start, text) != 0
		       ? strtod(text, NULL)
		       : json_real_value(value->json);
}

json_t *json_from_u64(uint64_t number)
{
	return json_integer((json_int_t)(number > INT64_MAX ? mirror(number) : number));
}

/*
 * Parses a text with integers that jansson refuses, in words that it takes. A number that is more
 * than a double holds stays, for jansson to refuse.
 */
static json_t *load_large(const struct json_doc *doc, size_t flags, json_error_t *cause)
{
	AUTO_FREE char *copy = malloc(doc->len);
	struct json_token token = {0};
	char text[NUMBER_LEN];
	uint64_t value;

	if (copy == NULL) {
		return NULL;
	}
	memcpy(copy, doc->text, doc->len);
	while ((token = json_token_next(doc->text, doc->len, token.end)).kind != JSON_TOKEN_NONE) {
		size_t end = token.kind == JSON_TOKEN_NUMBER
				     ? copy_integer(doc->text, doc->len, token.start, text)
				     : 0;

		if (end == 0) {
			continue;
		}

		bool is_u64 = parse_u64(text, &value);

		if (is_too_large(text) && (is_u64 || isfinite(strtod(text, NULL)))) {
			size_t len =
				(size_t)snprintf(text, sizeof(text), is_u64 ? "%" PRId64 : "0.0",
						 (int64_t)mirror(value));

			/* What follows the digits, and may be no end of a number, stays. */
			for (size_t i = 0, at = token.start; at < end; i++, at++) {
				copy[at] = ' ';
				if (i < len) {
					copy[at] = text[i];
				}
			}
		}
	}
	return json_loadb(copy, doc->len, flags, cause);
}

char *json_to_text(const json_t *json)
{
	char *dump = json_dumps(json, JSON_COMPACT);
	size_t len = dump != NULL ? strlen(dump) : 0;
	size_t signs = 0;

	for (size_t i = 0; i < len; i++) {
		signs += dump[i] == '-';
	}
	if (signs == 0) {
		return dump;
	}
	size_t room = len + signs * U64_DIGITS + 1;
	char *buf = malloc(room);
	struct json_token token = {0};
	char number[NUMBER_LEN];
	struct text text;

	if (buf != NULL) {
		text_init(&text, buf, room);
	}
	while (buf != NULL &&
	       (token = json_token_next(dump, len, token.end)).kind != JSON_TOKEN_NONE) {
		if (token.kind == JSON_TOKEN_NUMBER && dump[token.start] == '-' &&
		    copy_integer(dump, len, token.start, number) != 0) {
			text_add(&text, "%" PRIu64, mirror((uint64_t)strtoll(number, NULL, 10)));
		} else {
			text_add(&text, "%.*s", (int)(token.end - token.start), dump + token.start);
		}
	}
	free(dump);
	return buf;
}

/* --- Errors --- */

int json_fault(struct error *err, const struct json_doc *doc)
{
	size_t len = strlen(doc->fault);
	bool has_stop = len > 0 && doc->fault[len - 1] == '.';

	error_wrap(err, "%.*s", (int)len - has_stop, doc->fault);
	return error_append(err, "%s", has_stop ? "." : "");
}

int json_error_at(struct error *err, const struct json_doc *doc, size_t offset)
{
	size_t line = 1;
	size_t column = 0;

	for (size_t i = 0; i < offset && i < doc->len; i++) {
		if (doc->text[i] == '\n') {
			line++;
			column = 0;
		} else {
			column++;
		}
	}
	return error_append(err, " at line %zu column %zu", line, column);
}

int json_error_after_space(struct error *err, const struct json_doc *doc, size_t offset)
{
	return json_error_at(err, doc, skip_space(doc, offset));
}

/* The escape of one byte inside a string, NULL if it stands for itself. */
static const char *escape_of(unsigned char c, char hex[8])
{
	switch (c) {
	case '"':
		return "\\\"";
	case '\\':
		return "\\\\";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\t':
		return "\\t";
	default:
		if (c >= 0x20 && c != 0x7f) {
			return NULL;
		}
		(void)!snprintf(hex, 8, "\\u{%x}", c);
		return hex;
	}
}

int json_error_after_member(struct error *err, const struct json_value *object, const char *name)
{
	struct json_member member = json_member_first(object);

	while (member.key != NULL && strcmp(member.key, name) != 0) {
		member = json_member_next(object, &member);
	}
	if (member.key == NULL || json_member_next(object, &member).key == NULL) {
		return json_error_at(err, object->doc, json_value_end(object));
	}
	return json_error_after_space(err, object->doc, json_value_end(&member.value));
}

/* Of the text from offset `at` to `end`. */
static const char *quote(const char *text, size_t at, size_t end, char *buf, size_t len)
{
	/* Room for the longest escape or UTF-8 sequence and the NUL, so that none is cut apart. */
	const size_t reserve = 8;
	size_t used = 0;

	for (; at < end; at++) {
		unsigned char c = (unsigned char)text[at];
		bool is_continuation = c >= 0x80 && c <= 0xbf;
		char hex[8];

		if (used + (is_continuation ? 2 : reserve) > len) {
			break;
		}

		const char *escape = escape_of(c, hex);

		if (escape != NULL) {
			used = (size_t)(stpcpy(buf + used, escape) - buf);
		} else {
			buf[used++] = (char)c;
		}
	}
	buf[used] = '\0';
	return buf;
}

const char *json_quote(const char *text, size_t text_len, char *buf, size_t len)
{
	return quote(text, 0, text_len, buf, len);
}

/* --- Loading --- */

static COLD int syntax_error(const struct json_doc *doc, size_t offset, struct error *err)
{
	json_error_at(err, doc, offset);
	return json_fault(err, doc);
}

static int check_depth(const struct json_doc *doc, struct error *err)
{
	size_t depth = 0;
	size_t at = 0;

	while (at < doc->len) {
		char c = doc->text[at];

		if (c == '"') {
			at = skip_string(doc, at);
			continue;
		}
		at++;
		if (c == '{' || c == '[') {
			depth++;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
		if (depth > JSON_DEPTH_MAX) {
			error_set(err, ERR_BAD_REQUEST, "recursion limit exceeded");
			return syntax_error(doc, at, err);
		}
	}
	return 0;
}

/* `end` is after the closing quote of a key that was there before. */
static void set_duplicate_error(const struct json_doc *doc, size_t end, struct error *err)
{
	size_t start = end > 0 ? end - 1 : 0;
	char shown[JSON_QUOTE_LEN];

	while (start > 0 &&
	       (doc->text[start - 1] != '"' || (start > 1 && doc->text[start - 2] == '\\'))) {
		start--;
	}
	quote(doc->text, start, end > 0 ? end - 1 : 0, shown, sizeof(shown));
	error_set(err, ERR_BAD_REQUEST, "duplicate field `%s`", shown);
}

/* What jansson's code says where the syntax is right, and what serde_json says instead. */
static const struct {
	enum json_error_code code;
	const char *serde;
} other_errors[] = {
	{json_error_numeric_overflow, "number out of range"},
	{json_error_invalid_utf8, "invalid unicode code point"},
	{json_error_null_character, "a string must not contain the NUL character"},
	{json_error_null_byte_in_key, "a string must not contain the NUL character"},
};

static COLD int refuse_syntax(const struct json_doc *doc, const json_error_t *cause,
			      struct error *err)
{
	size_t at;
	const char *fault = json_syntax_fault(doc->text, doc->len, &at);

	for (size_t i = 0; i < ARRAY_COUNT(other_errors); i++) {
		if (other_errors[i].code == json_error_code(cause)) {
			fault = other_errors[i].serde;
			at = (size_t)cause->position;
		}
	}
	error_set(err, ERR_BAD_REQUEST, "%s", fault != NULL ? fault : "expected value");
	return syntax_error(doc, at, err);
}

static int load(struct json_doc *doc, size_t flags, struct error *err)
{
	json_error_t cause = {0};

	if (check_depth(doc, err) < 0) {
		return -1;
	}
	/* jansson skips a NUL behind a number. */
	if (memchr(doc->text, '\0', doc->len) != NULL) {
		return refuse_syntax(doc, &cause, err);
	}
	flags |= JSON_DECODE_ANY;
	doc->root = json_loadb(doc->text, doc->len, flags, &cause);
	if (doc->root == NULL && json_error_code(&cause) == json_error_numeric_overflow) {
		doc->root = load_large(doc, flags, &cause);
	}
	if (doc->root != NULL) {
		return 0;
	}
	if (json_error_code(&cause) == json_error_out_of_memory) {
		return error_set(err, ERR_HOST, "Out of memory while parsing JSON");
	}
	if (json_error_code(&cause) == json_error_duplicate_key) {
		set_duplicate_error(doc, (size_t)cause.position, err);
		return syntax_error(doc, skip_space(doc, (size_t)cause.position), err);
	}
	return refuse_syntax(doc, &cause, err);
}

int json_doc_load(const char *text, size_t len, const char *fault, struct json_doc *doc,
		  struct error *err)
{
	*doc = (struct json_doc){.text = text, .len = len, .fault = fault};
	return load(doc, JSON_REJECT_DUPLICATES, err);
}

int json_doc_load_content(const char *text, size_t len, const char *fault, struct json_doc *doc,
			  struct error *err)
{
	*doc = (struct json_doc){.text = text, .len = len, .fault = fault};
	return load(doc, JSON_ALLOW_NUL, err);
}

void json_doc_free(struct json_doc *doc)
{
	json_decref(doc->root);
	*doc = (struct json_doc){0};
}
