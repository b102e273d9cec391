/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as serde_json has it, by way of jansson.
 *
 * Theory of operation. jansson's integers have 64 bits with a sign, serde_json's one more; and
 * jansson writes 1.0, 1e3 and 0.1 in words of its own. So jansson never sees a number. First it
 * judges a copy of the text in which each number that is one is 0 and blanks: lengths stay, and
 * with them the places in messages. Then it reads another copy, in which numbers are strings. They
 * begin with MARK_NUMBER and have the number as serde_json would write it; a string that was one
 * begins with MARK_STRING.
 *
 * A walk over a document keeps its path in an array: the depth is checked before the first one.
 */
#include "devices/mmds/mmds_json.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/json.h"

enum {
	MARK_STRING = 's',
	MARK_NUMBER = 'n',
	DIGITS_MAX = 17,	 /* of a double's decimal form, for which none is lost */
	FIXED_EXPONENT_MIN = -5, /* smaller and larger numbers are written with an exponent */
	FIXED_EXPONENT_MAX = 15,
	DOUBLE_LEN = 32, /* room for any double as text */
	/* The text with marks is at most so many times as long: 1e15 is "n1000000000000000.0". */
	MARKED_FACTOR = 6,
};

/* --- Numbers --- */

static size_t skip_digits(const char *text, size_t len, size_t at)
{
	while (at < len && text[at] >= '0' && text[at] <= '9') {
		at++;
	}
	return at;
}

/* Whether the text is a number [RFC 8259, 6]; *is_integer: one without a fraction or exponent. */
static bool is_number(const char *text, size_t len, bool *is_integer)
{
	size_t begin = len > 0 && text[0] == '-' ? 1 : 0;
	size_t at = skip_digits(text, len, begin);

	if (at == begin || (text[begin] == '0' && at > begin + 1)) {
		return false;
	}
	*is_integer = at == len;
	if (at < len && text[at] == '.') {
		begin = at + 1;
		at = skip_digits(text, len, begin);
		if (at == begin) {
			return false;
		}
	}
	if (at < len && (text[at] == 'e' || text[at] == 'E')) {
		begin = at + 1;
		begin += begin < len && (text[begin] == '+' || text[begin] == '-') ? 1 : 0;
		at = skip_digits(text, len, begin);
		if (at == begin) {
			return false;
		}
	}
	return at == len;
}

/* Whether serde_json keeps an integer as one, so that its text stays. */
static bool fits_integer(const char *text)
{
	bool is_negative = text[0] == '-';

	errno = 0;
	if (is_negative) {
		return strtoll(text, NULL, 10) != 0 && errno == 0;
	}
	(void)strtoull(text, NULL, 10);
	return errno == 0;
}

/*
 * The fewest digits that stand for `value` > 0 alone; returns its exponent of 10. Where 15 digits
 * do, they are the fewest with zeros behind them, except in denormal numbers.
 */
static int shortest_digits(double value, char digits[DIGITS_MAX + 1])
{
	char text[DOUBLE_LEN];
	int precision = value < DBL_MIN ? 0 : DBL_DIG - 1;
	char *exponent;

	do {
		(void)!snprintf(text, sizeof(text), "%.*e", precision++, value);
	} while (precision < DIGITS_MAX && strtod(text, NULL) != value);
	exponent = strchr(text, 'e');
	assert(exponent != NULL);

	size_t len = (size_t)(exponent - text);

	while (len > 1 && (text[len - 1] == '0' || text[len - 1] == '.')) {
		len--;
	}
	digits[0] = text[0];
	digits[1] = '\0';
	if (len > 2) {
		memcpy(digits + 1, text + 2, len - 2);
		digits[len - 1] = '\0';
	}
	return (int)strtol(exponent + 1, NULL, 10);
}

static void format_double(double value, char text[DOUBLE_LEN])
{
	char digits[DIGITS_MAX + 1] = "0";
	int exponent = value != 0 ? shortest_digits(fabs(value), digits) : 0;
	const char *sign = signbit(value) ? "-" : "";
	int count = (int)strlen(digits);

	if (exponent < FIXED_EXPONENT_MIN || exponent > FIXED_EXPONENT_MAX) {
		(void)!snprintf(text, DOUBLE_LEN, "%s%c%s%se%+d", sign, digits[0],
				count > 1 ? "." : "", digits + 1, exponent);
	} else if (exponent < 0) {
		(void)!snprintf(text, DOUBLE_LEN, "%s0.%.*s%s", sign, -exponent - 1, "0000",
				digits);
	} else if (exponent < count - 1) {
		(void)!snprintf(text, DOUBLE_LEN, "%s%.*s.%s", sign, exponent + 1, digits,
				digits + exponent + 1);
	} else {
		(void)!snprintf(text, DOUBLE_LEN, "%s%s%.*s.0", sign, digits,
				exponent - (count - 1), "000000000000000");
	}
}

/* --- Walks --- */

/* The objects and arrays that a walk is in. */
struct walk {
	struct level {
		json_t *container;
		void *iter;   /* of an object: the next member */
		size_t index; /* of an array: the next element; of an object: how many came */
	} levels[JSON_DEPTH_MAX];
	size_t depth;
};

static bool is_container(const json_t *value)
{
	return json_is_object(value) || json_is_array(value);
}

static void enter(struct walk *walk, json_t *container)
{
	assert(walk->depth < ARRAY_COUNT(walk->levels));
	walk->levels[walk->depth++] =
		(struct level){.container = container, .iter = json_object_iter(container)};
}

/* The next value of the innermost container, with its key in an object; NULL: there is no more. */
static json_t *next_value(struct walk *walk, const char **key)
{
	struct level *level = &walk->levels[walk->depth - 1];
	json_t *value;

	*key = NULL;
	if (json_is_array(level->container)) {
		return json_array_get(level->container, level->index++);
	}
	if (level->iter == NULL) {
		return NULL;
	}
	*key = json_object_iter_key(level->iter);
	value = json_object_iter_value(level->iter);
	level->iter = json_object_iter_next(level->container, level->iter);
	level->index++;
	return value;
}

/* --- Order --- */

static void swap(const char **left, const char **right)
{
	const char *old = *left;

	*left = *right;
	*right = old;
}

/* Lets the key at `root` sink until no key below it in the heap is larger. */
static void sink(const char **keys, size_t root, size_t count)
{
	size_t child;

	while ((child = 2 * root + 1) < count) {
		child += child + 1 < count && strcmp(keys[child], keys[child + 1]) < 0 ? 1 : 0;
		if (strcmp(keys[root], keys[child]) >= 0) {
			return;
		}
		swap(&keys[root], &keys[child]);
		root = child;
	}
}

/*
 * By a heap: glibc's qsort asks the kernel how much memory there is, which no filter of system
 * calls allows.
 */
static void sort_keys(const char **keys, size_t count)
{
	for (size_t i = count / 2; i > 0; i--) {
		sink(keys, i - 1, count);
	}
	for (size_t end = count; end > 1; end--) {
		swap(&keys[0], &keys[end - 1]);
		sink(keys, 0, end - 1);
	}
}

static bool is_sorted(json_t *object)
{
	const char *last = NULL;
	void *iter;

	for (iter = json_object_iter(object); iter != NULL;
	     iter = json_object_iter_next(object, iter)) {
		const char *key = json_object_iter_key(iter);

		if (last != NULL && strcmp(last, key) >= 0) {
			return false;
		}
		last = key;
	}
	return true;
}

static void list_keys(json_t *object, const char **keys)
{
	void *iter;

	for (iter = json_object_iter(object); iter != NULL;
	     iter = json_object_iter_next(object, iter)) {
		*keys++ = json_object_iter_key(iter);
	}
}

int mmds_json_sort(json_t *object)
{
	size_t count = json_object_size(object);
	AUTO_FREE const char **keys = NULL;
	json_t *sorted;
	int result;

	if (is_sorted(object)) {
		return 0;
	}
	keys = calloc(count, sizeof(*keys));
	sorted = json_object();
	result = keys != NULL && sorted != NULL ? 0 : -1;
	if (result == 0) {
		list_keys(object, keys);
		sort_keys(keys, count);
		for (size_t i = 0; i < count && result == 0; i++) {
			result = json_object_set_nocheck(sorted, keys[i],
							 json_object_get(object, keys[i]));
		}
	}
	if (result == 0) {
		json_object_clear(object);
		result = json_object_update(object, sorted);
	}
	json_decref(sorted);
	return result;
}

static int enter_sorted(struct walk *walk, json_t *value)
{
	if (json_is_object(value) && mmds_json_sort(value) < 0) {
		return -1;
	}
	if (is_container(value)) {
		enter(walk, value);
	}
	return 0;
}

static int sort_all(json_t *document)
{
	struct walk walk = {.depth = 0};
	const char *key;
	int result = enter_sorted(&walk, document);

	while (result == 0 && walk.depth > 0) {
		json_t *value = next_value(&walk, &key);

		if (value == NULL) {
			walk.depth--;
		} else {
			result = enter_sorted(&walk, value);
		}
	}
	return result;
}

/* --- Reading --- */

static struct json_token next_of(const struct json_doc *doc, const struct json_token *token)
{
	return json_token_next(doc->text, doc->len, token->end);
}

/* Makes each number in `copy` a 0 of the same length; fails where one is out of range. */
static int blank_numbers(const struct json_doc *doc, char *copy, struct error *err)
{
	struct json_token token = json_token_next(doc->text, doc->len, 0);

	for (; token.kind != JSON_TOKEN_NONE; token = next_of(doc, &token)) {
		const char *number = doc->text + token.start;
		size_t len = token.end - token.start;
		bool is_integer;

		if (token.kind != JSON_TOKEN_NUMBER || !is_number(number, len, &is_integer)) {
			continue;
		}
		if (isinf(strtod(number, NULL))) {
			error_set(err, ERR_BAD_REQUEST, "number out of range");
			json_error_at(err, doc, token.end);
			return json_fault(err, doc);
		}
		memset(copy + token.start, ' ', len);
		copy[token.start] = '0';
	}
	return 0;
}

static int judge(const struct json_doc *doc, struct error *err)
{
	AUTO_FREE char *copy = malloc(doc->len + 1);
	struct json_doc judged = {0};
	int result;

	if (copy == NULL) {
		return error_sys(err, "Cannot read the metadata");
	}
	memcpy(copy, doc->text, doc->len);
	/* A fault before the number that is out of range goes first. */
	struct error range = {0};
	int is_in_range = blank_numbers(doc, copy, &range);

	result = json_doc_load_content(copy, doc->len, doc->fault, &judged, err);
	json_doc_free(&judged);
	if (result == 0 && is_in_range < 0) {
		*err = range;
		return -1;
	}
	return result;
}

static char *append(char *to, const char *text, size_t len)
{
	memcpy(to, text, len);
	return to + len;
}

static char *append_marked(char *to, const struct json_doc *doc, const struct json_token *token)
{
	const char *text = doc->text + token->start;
	size_t len = token->end - token->start;
	bool is_integer = false;
	char number[DOUBLE_LEN];

	*to++ = '"';
	if (token->kind == JSON_TOKEN_STRING) {
		*to++ = MARK_STRING;
		return append(to, text + 1, len - 1);
	}
	*to++ = MARK_NUMBER;
	if (is_number(text, len, &is_integer) && is_integer && fits_integer(text)) {
		to = append(to, text, len);
	} else {
		format_double(strtod(text, NULL), number);
		to = append(to, number, strlen(number));
	}
	*to++ = '"';
	return to;
}

/* Writes the text, which is valid, with marks; returns its length. */
static size_t write_marked(const struct json_doc *doc, char *to)
{
	struct json_token token = json_token_next(doc->text, doc->len, 0);
	const char *begin = to;

	while (token.kind != JSON_TOKEN_NONE) {
		struct json_token next = next_of(doc, &token);
		bool is_key = next.kind == JSON_TOKEN_OTHER && doc->text[next.start] == ':';

		if (token.kind == JSON_TOKEN_OTHER || is_key) {
			to = append(to, doc->text + token.start, token.end - token.start);
		} else {
			to = append_marked(to, doc, &token);
		}
		token = next;
	}
	return (size_t)(to - begin);
}

int mmds_json_load(const char *text, size_t len, const char *fault, json_t **document,
		   struct error *err)
{
	/* A number may end where the text does: its end has to be seen. */
	AUTO_FREE char *ended = malloc(len + 1);
	AUTO_FREE char *marked = NULL;
	size_t room;
	struct json_doc doc = {.text = ended, .len = len, .fault = fault};

	*document = NULL;
	if (ended != NULL) {
		memcpy(ended, text, len);
		ended[len] = '\0';
		if (judge(&doc, err) < 0) {
			return -1;
		}
		if (!__builtin_mul_overflow(len + 1, (size_t)MARKED_FACTOR, &room)) {
			marked = malloc(room);
		}
	}
	if (marked != NULL) {
		len = write_marked(&doc, marked);
		assert(len <= room);
		*document = json_loadb(marked, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	}
	if (*document == NULL || sort_all(*document) < 0) {
		json_decref(*document);
		*document = NULL;
		return error_set(err, ERR_HOST, "Out of memory while reading the metadata");
	}
	return 0;
}

/* --- Writing --- */

struct printer {
	char *to; /* NULL: only counts */
	size_t len;
};

static void put(struct printer *printer, const char *text, size_t len)
{
	if (printer->to != NULL) {
		memcpy(printer->to + printer->len, text, len);
	}
	printer->len += len;
}

static void put_char(struct printer *printer, char c)
{
	put(printer, &c, 1);
}

/* Whether a character of a string stands for itself. */
static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

static void put_escaped(struct printer *printer, unsigned char c)
{
	static const char escaped[] = "\"\\\b\f\n\r\t";
	static const char letters[] = "\"\\bfnrt";
	const char *escape = c != '\0' ? strchr(escaped, c) : NULL;
	char hex[8];

	if (escape != NULL) {
		put_char(printer, '\\');
		put_char(printer, letters[escape - escaped]);
	} else {
		(void)!snprintf(hex, sizeof(hex), "\\u%04x", c);
		put(printer, hex, strlen(hex));
	}
}

static void put_string(struct printer *printer, const char *text, size_t len)
{
	const char *end = text + len;

	put_char(printer, '"');
	while (text < end) {
		const char *run = text;

		while (text < end && is_plain((unsigned char)*text)) {
			text++;
		}
		put(printer, run, (size_t)(text - run));
		if (text < end) {
			put_escaped(printer, (unsigned char)*text++);
		}
	}
	put_char(printer, '"');
}

static void put_value(struct printer *printer, struct walk *walk, json_t *value)
{
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);

	if (is_container(value)) {
		enter(walk, value);
		put_char(printer, json_is_object(value) ? '{' : '[');
	} else if (text == NULL) {
		const char *word = json_is_true(value) ? "true" : "false";

		word = json_is_null(value) ? "null" : word;
		put(printer, word, strlen(word));
	} else if (text[0] == MARK_NUMBER) {
		put(printer, text + 1, len - 1);
	} else {
		put_string(printer, text + 1, len - 1);
	}
}

size_t mmds_json_print(json_t *value, char *to)
{
	struct printer printer = {.to = to};
	struct walk walk = {.depth = 0};

	put_value(&printer, &walk, value);
	while (walk.depth > 0) {
		const struct level *level = &walk.levels[walk.depth - 1];
		bool is_first = level->index == 0;
		const char *key;
		json_t *next = next_value(&walk, &key);

		if (next == NULL) {
			put_char(&printer, json_is_object(level->container) ? '}' : ']');
			walk.depth--;
			continue;
		}
		if (!is_first) {
			put_char(&printer, ',');
		}
		if (key != NULL) {
			put_string(&printer, key, strlen(key));
			put_char(&printer, ':');
		}
		put_value(&printer, &walk, next);
	}
	return printer.len;
}

const char *mmds_json_string(const json_t *value, size_t *len)
{
	const char *text = json_string_value(value);

	if (text == NULL || text[0] != MARK_STRING) {
		return NULL;
	}
	*len = json_string_length(value) - 1;
	return text + 1;
}
