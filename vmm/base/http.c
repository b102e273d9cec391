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
#include <strings.h>

#include "vmm/base/bytes.h"

/* A piece of a line: not NUL-terminated, and it may have NULs inside. */
struct span {
	const char *at;
	size_t len;
};

#define SPAN(text) ((struct span){(text), sizeof(text) - 1})
#define SPAN_FMT "%.*s"
#define SPAN_ARG(span) (int)(span).len, (span).at

static bool span_is(struct span span, struct span other)
{
	return span.len == other.len && memcmp(span.at, other.at, span.len) == 0;
}

/* Takes what stands before the first `mark` off *rest. false, and *rest as it was: there is none.
 */
static bool span_cut(struct span *rest, char mark, struct span *before)
{
	const char *at = memchr(rest->at, mark, rest->len);

	if (at == NULL) {
		return false;
	}
	size_t len = (size_t)(at - rest->at);

	*before = (struct span){rest->at, len};
	*rest = (struct span){at + 1, rest->len - len - 1};
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span span_trim(struct span span)
{
	while (span.len > 0 && is_space(span.at[0])) {
		span.at++;
		span.len--;
	}
	while (span.len > 0 && is_space(span.at[span.len - 1])) {
		span.len--;
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

/* How many bytes of a character are good. *len is how many it should have, 0 for a bad lead. */
static size_t utf8_good(struct span text, size_t *len)
{
	const unsigned char *byte = (const unsigned char *)text.at;
	const struct utf8_lead *lead = utf8_leads;

	*len = 0;
	while (byte[0] < lead->first || byte[0] > lead->last) {
		if (++lead == utf8_leads + ARRAY_COUNT(utf8_leads)) {
			return 0;
		}
	}
	*len = lead->len;
	for (size_t i = 1; i < lead->len; i++) {
		unsigned char first = i == 1 ? lead->second_first : 0x80;
		unsigned char last = i == 1 ? lead->second_last : 0xbf;

		if (i == text.len || byte[i] < first || byte[i] > last) {
			return i;
		}
	}
	return lead->len;
}

/* The number of bytes before the first that is no UTF-8; *bad_len: how many are bad, 0: cut off. */
static size_t utf8_valid(struct span text, size_t *bad_len)
{
	size_t at = 0;

	*bad_len = 0;
	while (at < text.len) {
		const struct span rest = {text.at + at, text.len - at};
		size_t len;
		size_t good = utf8_good(rest, &len);

		if (len == 0 || good < len) {
			*bad_len = good == rest.len ? 0 : max_u64(good, 1);
			return at;
		}
		at += len;
	}
	return at;
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
	vsnprintf(parser->error, sizeof(parser->error), fmt, args);
	va_end(args);
	return HTTP_BAD;
}

static enum http_event reject_value(struct http_parser *parser, struct span name, struct span value)
{
	return reject(parser,
		      "Invalid header. Reason: Invalid value. Key:" SPAN_FMT "; Value:" SPAN_FMT,
		      SPAN_ARG(name), SPAN_ARG(value));
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

/* --- the request line --- */

static bool parse_method(struct span text, enum http_method *method)
{
	static const struct span names[] = {
		[HTTP_GET] = {"GET", 3},
		[HTTP_PUT] = {"PUT", 3},
		[HTTP_PATCH] = {"PATCH", 5},
		[HTTP_DELETE] = {"DELETE", 6},
	};

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (span_is(text, names[i])) {
			*method = (enum http_method)i;
			return true;
		}
	}
	return false;
}

/* The path of "/path" or "http://host/path". All other forms stand for the root [compat]. */
static void parse_path(struct http_parser *parser, struct span uri)
{
	const struct span scheme = SPAN("http://");
	struct span path = uri;

	if (uri.len > scheme.len && memcmp(uri.at, scheme.at, scheme.len) == 0) {
		const char *slash = memchr(uri.at + scheme.len, '/', uri.len - scheme.len);

		if (slash != NULL) {
			path = (struct span){slash, (size_t)(uri.at + uri.len - slash)};
		}
	}
	parser->has_path = path.at[0] == '/';
	if (!parser->has_path) {
		path = SPAN("/");
	}
	memcpy(parser->path, path.at, path.len);
	parser->path[path.len] = '\0';
}

static enum http_event parse_request_line(struct http_parser *parser, struct span line)
{
	struct span version = line;
	struct span method;
	struct span uri;
	size_t bad_len;

	parser->state = HTTP_IN_HEADERS;
	if (!span_cut(&version, ' ', &method) || !span_cut(&version, ' ', &uri)) {
		return reject_request(parser);
	}
	if (!parse_method(method, &parser->method)) {
		return reject(parser, "Invalid HTTP Method: Unsupported HTTP method.");
	}
	if (uri.len == 0) {
		return reject(parser, "Invalid URI: Empty URI not allowed.");
	}
	/* A NUL would cut the path short for whoever reads it. */
	if (utf8_valid(uri, &bad_len) != uri.len || memchr(uri.at, '\0', uri.len) != NULL) {
		return reject(parser, "Invalid URI: Cannot parse URI as UTF-8.");
	}
	if (span_is(version, SPAN("HTTP/1.1"))) {
		parser->version = HTTP_1_1;
	} else if (span_is(version, SPAN("HTTP/1.0"))) {
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

/* 32 bits, a leading '+' allowed [compat]. */
static enum http_event parse_content_length(struct http_parser *parser, struct span name,
					    struct span value)
{
	struct span digits = span_trim(value);
	uint64_t len = 0;

	if (digits.len > 0 && digits.at[0] == '+') {
		digits = (struct span){digits.at + 1, digits.len - 1};
	}
	bool is_number = digits.len > 0;

	for (size_t i = 0; i < digits.len && is_number; i++) {
		char c = digits.at[i];

		len = len * 10 + (uint64_t)(c - '0');
		is_number = c >= '0' && c <= '9' && len <= UINT32_MAX;
	}
	if (!is_number) {
		parser->is_last = true;
		return reject_value(parser, name, value);
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
	(void)name;
	if (span_is(span_trim(value), SPAN("identity"))) {
		return HTTP_MORE;
	}
	return reject_framing(parser, "Transfer-Encoding is not supported: send the body as it is, "
				      "with its Content-Length.");
}

/* A list of options [RFC 9110, 7.6.1]. */
static enum http_event parse_connection(struct http_parser *parser, struct span name,
					struct span value)
{
	struct span rest = value;
	bool has_more = true;

	(void)name;
	while (has_more) {
		struct span item = rest;

		has_more = span_cut(&rest, ',', &item);
		const struct span option = span_trim(item);

		if (option.len == 5 && strncasecmp(option.at, "close", 5) == 0) {
			parser->is_last = true;
		} else if (option.len == 10 && strncasecmp(option.at, "keep-alive", 10) == 0 &&
			   parser->version == HTTP_1_0) {
			parser->is_last = false;
		}
	}
	return HTTP_MORE;
}

static enum http_event parse_accept(struct http_parser *parser, struct span name, struct span value)
{
	static const struct span types[] = {{"application/json", 16}, {"text/plain", 10}};

	(void)name;
	for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
		if (span_is(span_trim(value), types[i])) {
			parser->accept = types[i].at;
		}
	}
	return HTTP_MORE;
}

static enum http_event parse_expect(struct http_parser *parser, struct span name, struct span value)
{
	(void)name;
	if (span_is(span_trim(value), SPAN("100-continue"))) {
		parser->expects_continue = true;
	}
	return HTTP_MORE;
}

/* A client that refuses plain bytes can't be served. */
static enum http_event parse_accept_encoding(struct http_parser *parser, struct span name,
					     struct span value)
{
	const struct span trimmed = span_trim(value);
	struct span rest = trimmed;
	bool has_more = true;

	(void)name;
	if (rest.len == 0) {
		return reject_request(parser);
	}
	bool has_identity = memmem(rest.at, rest.len, "identity", 8) != NULL;

	while (has_more) {
		struct span item = rest;

		has_more = span_cut(&rest, ',', &item);
		const struct span coding = span_trim(item);

		if (span_is(coding, SPAN("identity;q=0")) ||
		    (span_is(coding, SPAN("*;q=0")) && !has_identity)) {
			return reject_value(parser, SPAN("Accept-Encoding"), item);
		}
	}
	return HTTP_MORE;
}

/* All others are fine whatever they say: Content-Type and Server too [compat]. */
static const struct {
	struct span name;
	header_fn parse;
} headers[] = {
	{{"content-length", 14}, parse_content_length},
	{{"accept", 6}, parse_accept},
	{{"expect", 6}, parse_expect},
	{{"accept-encoding", 15}, parse_accept_encoding},
	{{"transfer-encoding", 17}, parse_transfer_encoding},
	{{"connection", 10}, parse_connection},
};

static enum http_event reject_utf8(struct http_parser *parser, size_t at, size_t bad_len)
{
	static const char reason[] = "Invalid header. Reason: Header contains invalid characters.";

	if (bad_len == 0) {
		return reject(parser, "%s Key: incomplete utf-8 byte sequence from index %zu",
			      reason, at);
	}
	return reject(parser, "%s Key: invalid utf-8 sequence of %zu bytes from index %zu", reason,
		      bad_len, at);
}

static enum http_event parse_header(struct http_parser *parser, struct span line)
{
	struct span value = line;
	struct span name;
	size_t bad_len;
	size_t valid = utf8_valid(line, &bad_len);

	if (valid != line.len) {
		return reject_utf8(parser, valid, bad_len);
	}
	if (!span_cut(&value, ':', &name)) {
		return reject(
			parser,
			"Invalid header. Reason: Header is incorrectly formatted. Key: " SPAN_FMT,
			SPAN_ARG(line));
	}
	const struct span trimmed = span_trim(name);

	for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
		if (trimmed.len == headers[i].name.len &&
		    strncasecmp(trimmed.at, headers[i].name.at, trimmed.len) == 0) {
			return headers[i].parse(parser, name, value);
		}
	}
	if (parser->on_header != NULL) {
		const struct span rest = span_trim(value);

		parser->on_header(parser->header_arg, &(struct http_header){trimmed.at, trimmed.len,
									    rest.at, rest.len});
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
	return line.len == 0 ? end_headers(parser) : parse_header(parser, line);
}

/* The buffer is full and has no end of a line. */
static enum http_event cut_line(struct http_parser *parser)
{
	const struct span line = {parser->line, parser->line_len};
	size_t bad_len;

	/* The CR of its end may be here already. */
	char last = parser->line[parser->line_len - 1];
	enum http_event event = HTTP_MORE;

	if (parser->is_line_cut) {
		/* told already */
	} else if (parser->state == HTTP_IN_REQUEST_LINE) {
		event = reject_request(parser);
	} else {
		event = reject(parser,
			       "Invalid header. Reason: Invalid content length. Header: " SPAN_FMT,
			       (int)utf8_valid(line, &bad_len), line.at);
	}
	parser->is_line_cut = true;
	parser->line[0] = last;
	parser->line_len = 1;
	return event;
}

static enum http_event take_byte(struct http_parser *parser, char c)
{
	parser->line[parser->line_len++] = c;
	if (c == '\n' && parser->line_len >= 2 && parser->line[parser->line_len - 2] == '\r') {
		const struct span line = {parser->line, parser->line_len - 2};

		parser->line_len = 0;
		if (!parser->is_line_cut) {
			return parse_line(parser, line);
		}
		parser->is_line_cut = false;
		parser->state = HTTP_IN_HEADERS;
		return HTTP_MORE;
	}
	return parser->line_len == sizeof(parser->line) ? cut_line(parser) : HTTP_MORE;
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
			event = take_byte(parser, data[at++]);
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
		.path = parser->path,
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
	size_t head_len = http_format_head(to, HTTP_1_1, &response);

	memcpy(to + head_len, body, response.body_len);
	return head_len + response.body_len;
}
