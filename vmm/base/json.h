/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Untrusted JSON: jansson's parser with limits, and error messages that give the place as
 * clients of the API know it (" at line 1 column 21") [compat].
 */
#ifndef VMM_BASE_JSON_H
#define VMM_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	JSON_DEPTH_MAX = 127, /* nested objects and arrays [compat: serde_json refuses the 128th] */
	JSON_QUOTE_LEN = 128, /* enough for json_quote to show what matters of a string */
};

/* A parsed text. */
struct json_doc {
	json_t *root;
	const char *text;
	size_t len;
	/*
	 * What messages about it begin with, e.g. "Invalid JSON". A full stop at the end of it goes
	 * to the end of the message [compat].
	 */
	const char *fault;
};

/* One value of a document and the offset of its first byte. Borrowed from the document. */
struct json_value {
	const struct json_doc *doc;
	json_t *json;
	size_t start;
};

/*
 * Parses exactly one value of any type. Duplicate keys, NUL characters, numbers beyond a double
 * and more than JSON_DEPTH_MAX levels are refused. The caller bounds `len`; `text` and `fault`
 * outlive the document.
 */
MUST_CHECK int json_doc_load(const char *text, size_t len, const char *fault, struct json_doc *doc,
			     struct error *err);
void json_doc_free(struct json_doc *doc); /* a zeroed document is fine */

/* The same for free content: of duplicate keys the last counts, and values may have NULs. */
MUST_CHECK int json_doc_load_content(const char *text, size_t len, const char *fault,
				     struct json_doc *doc, struct error *err);

/*
 * Whether a value is a number without sign, fraction and exponent, and below 2^64; *number is it
 * then. jansson's own integers end at 2^63: json_integer_value is not for what may be larger.
 */
MUST_CHECK bool json_value_u64(const struct json_value *value, uint64_t *number);

/* The same of a number with a fraction or exponent, or of an integer beyond 64 bits. */
double json_value_real(const struct json_value *value);

/* A number of 64 bits without sign, to be written by json_to_text; NULL: out of memory. */
json_t *json_from_u64(uint64_t number);

/*
 * A value as compact text, a heap block; NULL: out of memory. It has no negative integers: they
 * stand for those from 2^63 on, of json_from_u64 or a document.
 */
char *json_to_text(const json_t *json);

/* A piece of a text that may or may not be JSON: [start, end). */
struct json_token {
	enum {
		JSON_TOKEN_NONE,   /* the text has no more */
		JSON_TOKEN_STRING, /* with its quotes */
		JSON_TOKEN_NUMBER, /* begins like one */
		JSON_TOKEN_OTHER,  /* a word, a bracket, a comma or a colon */
	} kind;
	size_t start;
	size_t end;
};

/* The first token at or behind offset `at`. */
struct json_token json_token_next(const char *text, size_t len, size_t at);

/* The outermost value. */
struct json_value json_doc_root(const struct json_doc *doc);

/* The offset after the last byte of a value. */
size_t json_value_end(const struct json_value *value);

/* A walk over the members of an object in the order of the text. */
struct json_member {
	const char *key; /* NULL after the last member */
	struct json_value value;
	size_t key_end; /* offset after the key's closing quote */
	void *iter;	/* the walk's own */
};

/* The first member of `object` (a JSON object), and the one after *member. */
struct json_member json_member_first(const struct json_value *object);
struct json_member json_member_next(const struct json_value *object,
				    const struct json_member *member);

/* Element `i` of `array` (a JSON array); `before` is the one before it, NULL where i is 0. */
struct json_value json_element(const struct json_value *array, size_t i,
			       const struct json_value *before);

/* Puts the document's `fault` around the message of an error already set; returns -1. */
COLD int json_fault(struct error *err, const struct json_doc *doc);

/*
 * Appends the place of `offset` (bytes read so far, 1-based column of the last one) to the message
 * of an error already set; returns -1.
 */
COLD int json_error_at(struct error *err, const struct json_doc *doc, size_t offset);

/* As json_error_at, after the white space that follows `offset`. */
COLD int json_error_after_space(struct error *err, const struct json_doc *doc, size_t offset);

/*
 * Appends the place at which serde_json reports a fault of member `name` of `object` that it found
 * after reading the value: before the next member, or after the object [compat]. Returns -1.
 */
COLD int json_error_after_member(struct error *err, const struct json_value *object,
				 const char *name);

/*
 * Writes `text` for an error message: quotes, backslashes and control characters escaped, cut
 * between characters where `len` (> 0) ends. Returns buf.
 */
const char *json_quote(const char *text, size_t text_len, char *buf, size_t len);

#endif
