/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.x that clients of Firecracker speak: an incremental parser and the heads of responses.
 *
 * Theory of operation. Bytes go to a buffer of one line until CRLF ends it; the line is parsed and
 * forgotten. A body goes to one heap block, allocated when the empty line has come and its length
 * has passed the limit. Nothing else is kept, so a client can't make a parser grow.
 *
 * A bad request is answered where its fault is seen, then skipped: lines up to the empty one, of
 * which only Content-Length is still understood, and then the body. Thus a connection stays in
 * step, and what a parser does depends on the bytes alone, never on how they were cut.
 *
 * Names, sentences and the order of headers are [compat]: clients match on them.
 */
#include "vmm/base/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"

/*
 * A piece of the parser's line: the bytes from index `begin` to before `end`, which may be NULs. No
 * piece has an address, so none can lie outside the line. Frama-C's EVA follows the indexes.
 */
struct span {
	uint32_t begin;
	uint32_t end;
};

/* A text to compare with. An index below `len` is within the array, whichever word it is. */
struct word {
	uint32_t len;
	char text[24];
};

#define WORD(text)                                                                                 \
	{                                                                                          \
		sizeof(text) - 1, text                                                             \
	}

static char to_lower(char c)
{
	if (c >= 'A' && c <= 'Z') {
		return (char)(c - 'A' + 'a');
	}
	return c;
}

static bool span_is(const struct http_parser *parser, struct span span, const struct word *word)
{
	uint32_t i = 0;

	while (i < word->len && span.begin < span.end &&
	       parser->line[span.begin] == word->text[i]) {
		span.begin++;
		i++;
	}
	return i == word->len && span.begin == span.end;
}

/* The same in any case; the word is in lower case. */
static bool span_names(const struct http_parser *parser, struct span span, const struct word *word)
{
	uint32_t i = 0;

	while (i < word->len && span.begin < span.end &&
	       to_lower(parser->line[span.begin]) == word->text[i]) {
		span.begin++;
		i++;
	}
	return i == word->len && span.begin == span.end;
}

/* Takes what stands before the first `mark` off *rest. false, and *rest as it was: there is none.
 */
static bool span_cut(const struct http_parser *parser, struct span *rest, char mark,
		     struct span *before)
{
	for (uint32_t i = rest->begin; i < rest->end; i++) {
		if (parser->line[i] == mark) {
			*before = (struct span){rest->begin, i};
			rest->begin = i + 1;
			return true;
		}
	}
	return false;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span span_trim(const struct http_parser *parser, struct span span)
{
	while (span.begin < span.end && is_space(parser->line[span.begin])) {
		span.begin++;
	}
	while (span.begin < span.end && is_space(parser->line[span.end - 1])) {
		span.end--;
	}
	return span;
}

/* --- UTF-8 --- */

/* Lead bytes, and the second bytes that they allow [unicode 15, table 3-7]. */
static const struct utf8_lead {
	unsigned char first, last, len, second_first, second_last;
} utf8_leads[] = {
	{0x00, 0x7f, 1, 0, 0},	     {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
	{0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
	{0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

/* How many bytes of the first character are good. *len is how many it should have, 0: a bad lead.
 */
static uint32_t utf8_good(const struct http_parser *parser, struct span text, uint32_t *len)
{
	unsigned char lead = (unsigned char)parser->line[text.begin];
	size_t row = 0;

	*len = 0;
	while (lead < utf8_leads[row].first || lead > utf8_leads[row].last) {
		if (++row == ARRAY_COUNT(utf8_leads)) {
			return 0;
		}
	}
	*len = utf8_leads[row].len;
	for (uint32_t i = 1; i < utf8_leads[row].len; i++) {
		unsigned char first = i == 1 ? utf8_leads[row].second_first : 0x80;
		unsigned char last = i == 1 ? utf8_leads[row].second_last : 0xbf;
		unsigned char byte;

		if (text.begin + i >= text.end) {
			return i;
		}
		byte = (unsigned char)parser->line[text.begin + i];
		if (byte < first || byte > last) {
			return i;
		}
	}
	return utf8_leads[row].len;
}

/* The index of the first byte that is no UTF-8, or the end; *bad_len: how many are bad, 0: cut off.
 */
static uint32_t utf8_valid(const struct http_parser *parser, struct span text, uint32_t *bad_len)
{
	*bad_len = 0;
	while (text.begin < text.end) {
		if (((unsigned char)parser->line[text.begin] & 0x80) == 0) {
			text.begin++;
			continue;
		}
		uint32_t len;
		uint32_t good = utf8_good(parser, text, &len);

		if (len == 0 || good < len) {
			bool is_cut = text.begin + good == text.end;

			*bad_len = is_cut ? 0 : (uint32_t)max_u64(good, 1);
			return text.begin;
		}
		text.begin += len;
	}
	return text.end;
}

/* --- faults --- */

/* Only the first fault of a request is reported. */
COLD PRINTF(2, 3) static enum http_event reject(struct http_parser *parser, const char *fmt, ...)
{
	va_list args;

	if (parser->is_rejected) {
		return HTTP_MORE;
	}
	parser->is_rejected = true;
	parser->error_status = 400;
	va_start(args, fmt);
	int len = vsnprintf(parser->error, sizeof(parser->error), fmt, args);

	va_end(args);
	parser->error_len = min_u64(len > 0 ? (uint64_t)len : 0, sizeof(parser->error) - 1);
	return HTTP_BAD;
}

/* Adds to the text of the fault. */
COLD static void put(struct http_parser *parser, char c)
{
	if (parser->error_len < sizeof(parser->error) - 1) {
		parser->error[parser->error_len++] = c;
		parser->error[parser->error_len] = '\0';
	}
}

/* Adds a piece of the line, up to a NUL. */
COLD static void quote(struct http_parser *parser, struct span span)
{
	while (span.begin < span.end && parser->line[span.begin] != '\0') {
		put(parser, parser->line[span.begin++]);
	}
}

/* Where the body ends is unknown, so what follows can't be read as a request. */
static enum http_event reject_framing(struct http_parser *parser, const char *why)
{
	parser->is_last = true;
	return reject(parser, "%s", why);
}

static enum http_event reject_request(struct http_parser *parser)
{
	return reject(parser, "Invalid request.");
}

/* With a piece of the line behind the sentence. */
static enum http_event reject_quoting(struct http_parser *parser, const char *what,
				      struct span span)
{
	enum http_event event = reject(parser, "%s", what);

	if (event == HTTP_BAD) {
		quote(parser, span);
	}
	return event;
}

/* --- the request line --- */

static bool parse_method(const struct http_parser *parser, struct span text,
			 enum http_method *method)
{
	static const struct word names[HTTP_METHODS] = {
		[HTTP_GET] = WORD("GET"),
		[HTTP_PUT] = WORD("PUT"),
		[HTTP_PATCH] = WORD("PATCH"),
		[HTTP_DELETE] = WORD("DELETE"),
	};

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (span_is(parser, text, &names[i])) {
			*method = (enum http_method)i;
			return true;
		}
	}
	return false;
}

/* The path of "/path" or "http://host/path". All other forms stand for the root [compat]. */
static void parse_path(struct http_parser *parser, struct span uri)
{
	static const struct word scheme = WORD("http://");
	const struct span front = {uri.begin, uri.begin + scheme.len};
	struct span host = {0};
	struct span path = uri;

	if (front.end < uri.end && span_is(parser, front, &scheme)) {
		path.begin = front.end;
		if (span_cut(parser, &path, '/', &host)) {
			path.begin = host.end;
		} else {
			path = uri;
		}
	}
	parser->has_path = parser->line[path.begin] == '/';
	if (!parser->has_path) {
		parser->path_begin = 0;
		parser->path[0] = '/';
		parser->path[1] = '\0';
		return;
	}
	/* At the same place as in the line. */
	parser->path_begin = path.begin;
	memcpy(parser->path, parser->line, path.end);
	parser->path[path.end] = '\0';
}

static enum http_event parse_request_line(struct http_parser *parser, struct span line)
{
	static const struct word http_1_0 = WORD("HTTP/1.0");
	static const struct word http_1_1 = WORD("HTTP/1.1");
	struct span version = line;
	struct span method = {0};
	struct span uri = {0};
	uint32_t bad_len;

	parser->state = HTTP_IN_HEADERS;
	if (!span_cut(parser, &version, ' ', &method) || !span_cut(parser, &version, ' ', &uri)) {
		return reject_request(parser);
	}
	if (!parse_method(parser, method, &parser->method)) {
		return reject(parser, "Invalid HTTP Method: Unsupported HTTP method.");
	}
	if (uri.begin == uri.end) {
		return reject(parser, "Invalid URI: Empty URI not allowed.");
	}
	struct span rest = uri;
	struct span before = {0};

	/* A NUL would cut the path short for whoever reads it. */
	if (utf8_valid(parser, uri, &bad_len) != uri.end ||
	    span_cut(parser, &rest, '\0', &before)) {
		return reject(parser, "Invalid URI: Cannot parse URI as UTF-8.");
	}
	if (span_is(parser, version, &http_1_1)) {
		parser->version = HTTP_1_1;
	} else if (span_is(parser, version, &http_1_0)) {
		parser->version = HTTP_1_0;
		parser->is_last = true; /* unless it says keep-alive */
	} else {
		return reject(parser, "Invalid HTTP Version: Unsupported HTTP version.");
	}
	parse_path(parser, uri);
	return HTTP_MORE;
}

/* --- headers --- */

typedef enum http_event (*header_fn)(struct http_parser *parser, struct span name,
				     struct span value);

static enum http_event reject_content_length(struct http_parser *parser, struct span name,
					     struct span value)
{
	static const char middle[] = "; Value:";

	parser->is_last = true;
	if (reject_quoting(parser, "Invalid header. Reason: Invalid value. Key:", name) !=
	    HTTP_BAD) {
		return HTTP_MORE;
	}
	for (size_t i = 0; i < sizeof(middle) - 1; i++) {
		put(parser, middle[i]);
	}
	quote(parser, value);
	return HTTP_BAD;
}

/* 32 bits, a leading '+' allowed [compat]. */
static enum http_event parse_content_length(struct http_parser *parser, struct span name,
					    struct span value)
{
	struct span digits = span_trim(parser, value);
	uint64_t len = 0;

	if (digits.begin < digits.end && parser->line[digits.begin] == '+') {
		digits.begin++;
	}
	bool is_number = digits.begin < digits.end;

	for (; digits.begin < digits.end && is_number; digits.begin++) {
		char c = parser->line[digits.begin];

		len = len * 10 + (uint64_t)(c - '0');
		is_number = c >= '0' && c <= '9' && len <= UINT32_MAX;
	}
	if (!is_number) {
		return reject_content_length(parser, name, value);
	}
	if (parser->has_content_len && parser->content_len != len) {
		return reject_framing(parser,
				      "Invalid header. Reason: Two values of Content-Length.");
	}
	parser->has_content_len = true;
	parser->content_len = (uint32_t)len;
	return HTTP_MORE;
}

/* Bodies come with their length: all other codings are refused [RFC 9112, 6.1]. */
static enum http_event parse_transfer_encoding(struct http_parser *parser, struct span name,
					       struct span value)
{
	static const struct word identity = WORD("identity");

	(void)name;
	if (span_is(parser, span_trim(parser, value), &identity)) {
		return HTTP_MORE;
	}
	return reject_framing(parser, "Transfer-Encoding is not supported: send the body as it is, "
				      "with its Content-Length.");
}

/* The next item of a list; false: there is no more. */
static bool next_item(const struct http_parser *parser, struct span *rest, bool *has_more,
		      struct span *item)
{
	if (!*has_more) {
		return false;
	}
	*item = *rest;
	*has_more = span_cut(parser, rest, ',', item);
	return true;
}

/* A list of options [RFC 9110, 7.6.1]. */
static enum http_event parse_connection(struct http_parser *parser, struct span name,
					struct span value)
{
	static const struct word close_word = WORD("close");
	static const struct word keep_alive = WORD("keep-alive");
	struct span item = {0};
	bool has_more = true;

	(void)name;
	while (next_item(parser, &value, &has_more, &item)) {
		const struct span option = span_trim(parser, item);

		if (span_names(parser, option, &close_word)) {
			parser->is_last = true;
		} else if (span_names(parser, option, &keep_alive) && parser->version == HTTP_1_0) {
			parser->is_last = false;
		}
	}
	return HTTP_MORE;
}

static enum http_event parse_accept(struct http_parser *parser, struct span name, struct span value)
{
	static const struct word types[] = {WORD("application/json"), WORD("text/plain")};

	(void)name;
	for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
		if (span_is(parser, span_trim(parser, value), &types[i])) {
			parser->accept = types[i].text;
		}
	}
	return HTTP_MORE;
}

static enum http_event parse_expect(struct http_parser *parser, struct span name, struct span value)
{
	static const struct word wanted = WORD("100-continue");

	(void)name;
	if (span_is(parser, span_trim(parser, value), &wanted)) {
		parser->expects_continue = true;
	}
	return HTTP_MORE;
}

/* Whether the word stands anywhere in the piece. */
static bool span_has(const struct http_parser *parser, struct span span, const struct word *word)
{
	for (; span.begin + word->len <= span.end; span.begin++) {
		const struct span part = {span.begin, span.begin + word->len};

		if (span_is(parser, part, word)) {
			return true;
		}
	}
	return false;
}

/* A client that refuses plain bytes can't be served. */
static enum http_event parse_accept_encoding(struct http_parser *parser, struct span name,
					     struct span value)
{
	static const struct word identity = WORD("identity");
	static const struct word no_identity = WORD("identity;q=0");
	static const struct word no_others = WORD("*;q=0");
	struct span rest = span_trim(parser, value);
	struct span item = {0};
	bool has_more = true;

	(void)name;
	if (rest.begin == rest.end) {
		return reject_request(parser);
	}
	bool has_identity = span_has(parser, rest, &identity);

	while (next_item(parser, &rest, &has_more, &item)) {
		const struct span coding = span_trim(parser, item);

		if (span_is(parser, coding, &no_identity) ||
		    (span_is(parser, coding, &no_others) && !has_identity)) {
			return reject_quoting(parser,
					      "Invalid header. Reason: Invalid value. "
					      "Key:Accept-Encoding; Value:",
					      item);
		}
	}
	return HTTP_MORE;
}

/* All others are fine whatever they say: Content-Type and Server too [compat]. */
static const struct {
	struct word name;
	header_fn parse;
} headers[] = {
	{WORD("content-length"), parse_content_length},
	{WORD("accept"), parse_accept},
	{WORD("expect"), parse_expect},
	{WORD("accept-encoding"), parse_accept_encoding},
	{WORD("transfer-encoding"), parse_transfer_encoding},
	{WORD("connection"), parse_connection},
};

static enum http_event reject_utf8(struct http_parser *parser, uint32_t at, uint32_t bad_len)
{
	static const char reason[] = "Invalid header. Reason: Header contains invalid characters.";

	if (bad_len == 0) {
		return reject(parser, "%s Key: incomplete utf-8 byte sequence from index %u",
			      reason, at);
	}
	return reject(parser, "%s Key: invalid utf-8 sequence of %u bytes from index %u", reason,
		      bad_len, at);
}

static void hand_over(const struct http_parser *parser, struct span name, struct span value)
{
	const struct http_header header = {
		.name = parser->line + name.begin,
		.name_len = name.end - name.begin,
		.value = parser->line + value.begin,
		.value_len = value.end - value.begin,
	};

	parser->on_header(parser->header_arg, &header);
}

static enum http_event parse_header(struct http_parser *parser, struct span line)
{
	struct span value = line;
	struct span name = {0};
	uint32_t bad_len;
	uint32_t valid = utf8_valid(parser, line, &bad_len);

	if (valid != line.end) {
		return reject_utf8(parser, valid, bad_len);
	}
	if (!span_cut(parser, &value, ':', &name)) {
		return reject_quoting(
			parser,
			"Invalid header. Reason: Header is incorrectly formatted. Key: ", line);
	}
	const struct span trimmed = span_trim(parser, name);

	for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
		if (span_names(parser, trimmed, &headers[i].name)) {
			return headers[i].parse(parser, name, value);
		}
	}
	if (parser->on_header != NULL) {
		hand_over(parser, trimmed, span_trim(parser, value));
	}
	return HTTP_MORE;
}

/* The empty line: the request is complete, or a body follows. */
static enum http_event end_headers(struct http_parser *parser)
{
	if (parser->content_len == 0) {
		parser->state = HTTP_IS_DONE;
		return parser->is_rejected ? HTTP_MORE : HTTP_REQUEST;
	}
	parser->state = HTTP_IN_BODY;
	if (parser->is_rejected) {
		return HTTP_MORE;
	}
	if (parser->content_len > parser->payload_max) {
		return reject(parser,
			      "Request payload with size %u is larger than the limit of %llu "
			      "allowed by server.",
			      parser->content_len, (unsigned long long)parser->payload_max);
	}
	parser->body = malloc((size_t)parser->content_len + 1);
	if (parser->body == NULL) {
		enum http_event event =
			reject(parser, "There is no memory for a payload of %u bytes.",
			       parser->content_len);

		parser->error_status = 500;
		return event;
	}
	parser->body[parser->content_len] = '\0';
	return parser->expects_continue ? HTTP_CONTINUE : HTTP_MORE;
}

/* --- bytes --- */

static enum http_event parse_line(struct http_parser *parser, struct span line)
{
	if (parser->state == HTTP_IN_REQUEST_LINE) {
		return parse_request_line(parser, line);
	}
	return line.begin == line.end ? end_headers(parser) : parse_header(parser, line);
}

/* The buffer is full and has no end of a line. */
static enum http_event cut_line(struct http_parser *parser)
{
	struct span line = {0, parser->line_len};
	uint32_t bad_len;

	/* The CR of its end may be here already. */
	char last = parser->line[parser->line_len - 1];
	enum http_event event = HTTP_MORE;

	if (parser->is_line_cut) {
		/* told already */
	} else if (parser->state == HTTP_IN_REQUEST_LINE) {
		event = reject_request(parser);
	} else {
		line.end = utf8_valid(parser, line, &bad_len);
		event = reject_quoting(
			parser, "Invalid header. Reason: Invalid content length. Header: ", line);
	}
	parser->is_line_cut = true;
	parser->line[0] = last;
	parser->line_len = 1;
	return event;
}

/* A line of `len` bytes and its CRLF are in the buffer. */
static enum http_event end_line(struct http_parser *parser, uint32_t len)
{
	parser->line_len = 0;
	if (!parser->is_line_cut) {
		return parse_line(parser, (struct span){0, len});
	}
	parser->is_line_cut = false;
	parser->state = HTTP_IN_HEADERS;
	return HTTP_MORE;
}

/* Takes bytes from *at on, until a line ends or its buffer is full. */
static enum http_event take_line(struct http_parser *parser, const char *data, size_t len,
				 size_t *at)
{
	uint32_t end = parser->line_len;

	while (*at < len && end < sizeof(parser->line)) {
		char c = data[(*at)++];

		parser->line[end++] = c;
		if (c == '\n' && end >= 2 && parser->line[end - 2] == '\r') {
			return end_line(parser, end - 2);
		}
	}
	parser->line_len = end;
	return parser->line_len < sizeof(parser->line) ? HTTP_MORE : cut_line(parser);
}

static size_t take_body(struct http_parser *parser, const char *data, size_t len)
{
	size_t count = min_u64(len, parser->content_len - parser->body_len);

	if (parser->body != NULL) {
		memcpy(parser->body + parser->body_len, data, count);
	}
	parser->body_len += (uint32_t)count;
	if (parser->body_len == parser->content_len) {
		parser->state = HTTP_IS_DONE;
	}
	return count;
}

static void begin(struct http_parser *parser)
{
	free(parser->body);
	parser->body = NULL;
	parser->state = HTTP_IN_REQUEST_LINE;
	parser->is_rejected = false;
	parser->version = HTTP_1_1;
	parser->path_begin = 0;
	parser->path[0] = '\0';
	parser->accept = NULL;
	parser->expects_continue = false;
	parser->is_last = false;
	parser->has_content_len = false;
	parser->content_len = 0;
	parser->body_len = 0;
}

void http_parser_init(struct http_parser *parser, uint64_t payload_max)
{
	parser->payload_max = payload_max;
	parser->on_header = NULL;
	parser->header_arg = NULL;
	parser->is_line_cut = false;
	parser->line_len = 0;
	parser->body = NULL;
	begin(parser);
}

void http_parser_destroy(struct http_parser *parser)
{
	free(parser->body);
	parser->body = NULL;
}

enum http_event http_parser_feed(struct http_parser *parser, const char *data, size_t len,
				 size_t *used)
{
	enum http_event event = HTTP_MORE;
	size_t at = 0;

	while (at < len && event == HTTP_MORE) {
		if (parser->is_rejected && parser->is_last) {
			event = HTTP_LOST;
			break;
		}
		if (parser->state == HTTP_IS_DONE) {
			begin(parser);
		}
		if (parser->state != HTTP_IN_BODY) {
			event = take_line(parser, data, len, &at);
			continue;
		}
		at += take_body(parser, data + at, len - at);
		if (parser->state == HTTP_IS_DONE && !parser->is_rejected) {
			event = HTTP_REQUEST;
		}
	}
	*used = at;
	return event;
}

void http_parser_request(const struct http_parser *parser, struct http_request *request)
{
	*request = (struct http_request){
		.method = parser->method,
		.version = parser->version,
		.path = parser->path + parser->path_begin,
		.has_path = parser->has_path,
		.accept = parser->accept,
		.body = parser->body,
		.body_len = parser->body_len,
	};
}

/* --- responses --- */

bool http_has_body(const struct http_response *response)
{
	return response->status >= 200 && response->status != 204 && response->body != NULL;
}

/* The space and the missing reason phrase are [compat]. */
#define STATUS_LINE "HTTP/1.%d %u \r\nServer: Firecracker API\r\nConnection: %s\r\n"

static size_t written(int len)
{
	return min_u64((uint64_t)len, HTTP_HEAD_LEN - 1);
}

size_t http_format_head(char *to, enum http_version version, const struct http_response *response)
{
	const char *type = response->content_type;
	const char *connection = response->is_last ? "close" : "keep-alive";
	const char *deprecation = response->is_deprecated ? "Deprecation: true\r\n" : "";
	const char *lines = response->headers != NULL ? response->headers : "";

	if (response->status < 200 || response->status == 204) {
		return written(snprintf(to, HTTP_HEAD_LEN, STATUS_LINE "%s%s\r\n", version,
					response->status, connection, lines, deprecation));
	}
	return written(snprintf(to, HTTP_HEAD_LEN,
				STATUS_LINE "%s%sContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
				version, response->status, connection, lines, deprecation,
				type != NULL ? type : "application/json",
				response->body != NULL ? response->body_len : 0));
}

size_t http_format_continue(char *to, const struct http_parser *parser)
{
	const struct http_response response = {.status = 100};

	return http_format_head(to, parser->version, &response);
}

size_t http_format_error(char *to, const struct http_parser *parser)
{
	char head[HTTP_HEAD_LEN];
	char body[HTTP_ERROR_LEN + 128];
	/* What it quotes is not escaped, and the newline is a real one [compat]. */
	int len = snprintf(body, sizeof(body),
			   "{ \"error\": \"%s\nAll previous unanswered requests will be "
			   "dropped.\" }",
			   parser->error);
	const struct http_response response = {.status = parser->error_status,
					       .is_last = parser->is_last,
					       .body = body,
					       .body_len = (size_t)len};

	(void)!http_format_head(head, HTTP_1_1, &response);
	return written(snprintf(to, HTTP_HEAD_LEN, "%s%s", head, body));
}
