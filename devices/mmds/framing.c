/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request ends: lines up to the empty one, and as many bytes as Content-Length says. */
#include "devices/mmds/framing.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Reads the number of a Content-Length, the last `len` bytes of its line. False: it is none. */
static bool parse_number(const char *text, size_t len, uint32_t *value)
{
	uint64_t sum = 0;
	size_t at = 0;

	/*@ loop invariant len <= \at(len, Pre);
	  @ loop assigns len;
	  @*/
	while (len > 0 && is_blank(text[len - 1])) {
		len--;
	}
	/*@ loop invariant at <= len;
	  @ loop assigns at;
	  @*/
	while (at < len && is_blank(text[at])) {
		at++;
	}
	if (at < len && text[at] == '+') { /* [compat] */
		at++;
	}
	if (at == len) {
		return false;
	}
	/*@ loop invariant at <= len && sum <= UINT32_MAX;
	  @ loop assigns at, sum;
	  @*/
	for (; at < len; at++) {
		if (text[at] < '0' || text[at] > '9') {
			return false;
		}
		sum = sum * 10 + (uint64_t)(text[at] - '0');
		if (sum > UINT32_MAX) {
			return false;
		}
	}
	*value = (uint32_t)sum;
	return true;
}

/* Takes the length of the body out of a header's line, if it is that. */
static void parse_line(const char *line, size_t len, uint32_t *body_len)
{
	static const char name[] = "content-length";
	const char *colon = memchr(line, ':', len);

	if (colon == NULL) {
		return;
	}
	size_t value_at = (size_t)(colon - line) + 1;
	size_t first = 0;
	size_t end = value_at - 1;

	/*@ loop invariant first <= end;
	  @ loop assigns first;
	  @*/
	while (first < end && is_blank(line[first])) {
		first++;
	}
	/*@ loop invariant first <= end < value_at;
	  @ loop assigns end;
	  @*/
	while (end > first && is_blank(line[end - 1])) {
		end--;
	}
	if (end - first == sizeof(name) - 1 && strncasecmp(line + first, name, end - first) == 0) {
		(void)!parse_number(line + value_at, len - value_at, body_len);
	}
}

size_t mmds_request_len(const char *data, size_t len, size_t max, bool *is_cut)
{
	uint32_t body_len = 0;
	size_t at = 0;
	bool is_end = false;

	*is_cut = false;
	/*@ loop invariant at <= len && (is_end ==> at > 0);
	  @ loop assigns at, is_end, body_len;
	  @*/
	while (!is_end) {
		const char *newline = at < len ? memchr(data + at, '\n', len - at) : NULL;

		if (newline == NULL) {
			return 0;
		}
		size_t line_len = (size_t)(newline - (data + at));

		/* The first line may be empty, and is no end [compat]. */
		is_end = at > 0 && (line_len == 0 || (line_len == 1 && data[at] == '\r'));
		if (at > 0) {
			parse_line(data + at, line_len, &body_len);
		}
		at += line_len + 1;
	}
	if (at > max || body_len > max - at) {
		*is_cut = true;
		return at;
	}
	return body_len <= len - at ? at + body_len : 0;
}
