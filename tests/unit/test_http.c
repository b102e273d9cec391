/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/http.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/http.h"

enum {
	PAYLOAD_MAX = 250,
	TRACE_LEN = 8192
};

#define LAST "\nAll previous unanswered requests will be dropped.\" }"
#define HEADER "BAD 400 Invalid header. Reason: "

/* What came out of a parser, as text: "GET /path json 5:hello;", "CONTINUE;", "BAD 400 why;". */
struct trace {
	size_t len;
	char text[TRACE_LEN];
	bool is_lost;
};

static const char *const methods[] = {"GET", "PUT", "PATCH", "DELETE"};

static void add(struct trace *trace, const char *text, size_t len)
{
	cr_assert_lt(trace->len + len, sizeof(trace->text));
	memcpy(trace->text + trace->len, text, len);
	trace->len += len;
	trace->text[trace->len] = '\0';
}

static void add_request(struct trace *trace, const struct http_parser *parser)
{
	struct http_request request;
	char head[HTTP_LINE_LEN + 64];

	http_parser_request(parser, &request);
	int len = snprintf(head, sizeof(head), "%s %s", methods[request.method], request.path);

	add(trace, head, (size_t)len);
	if (request.accept != NULL) {
		add(trace, " ", 1);
		add(trace, request.accept, strlen(request.accept));
	}
	if (request.body != NULL) {
		len = snprintf(head, sizeof(head), " %zu:", request.body_len);
		add(trace, head, (size_t)len);
		add(trace, request.body, request.body_len);
		cr_expect_eq(request.body[request.body_len], '\0');
	}
	add(trace, ";", 1);
}

static void add_error(struct trace *trace, const struct http_parser *parser)
{
	char head[HTTP_ERROR_LEN + 16];
	int len = snprintf(head, sizeof(head), "BAD %u %s;", parser->error_status, parser->error);

	add(trace, head, (size_t)len);
}

static void feed(struct http_parser *parser, const char *data, size_t len, struct trace *trace)
{
	while (len > 0 && !trace->is_lost) {
		/* On the heap and no longer than it is: the sanitizer sees a read beyond. */
		char *copy = malloc(len);
		size_t used = 0;

		cr_assert_not_null(copy);
		memcpy(copy, data, len);
		enum http_event event = http_parser_feed(parser, copy, len, &used);

		free(copy);
		cr_assert_leq(used, len);
		data += used;
		len -= used;
		switch (event) {
		case HTTP_MORE:
			cr_assert_eq(len, 0);
			break;
		case HTTP_CONTINUE:
			add(trace, "CONTINUE;", 9);
			break;
		case HTTP_REQUEST:
			add_request(trace, parser);
			break;
		case HTTP_BAD:
			add_error(trace, parser);
			break;
		case HTTP_LOST:
			trace->is_lost = true;
			return;
		}
	}
}

/* Feeds `len` bytes: the first `first`, then `step` at a time. */
static void parse(const char *data, size_t len, size_t first, size_t step, struct trace *trace)
{
	struct http_parser parser;

	*trace = (struct trace){0};
	http_parser_init(&parser, PAYLOAD_MAX);
	feed(&parser, data, first, trace);
	for (size_t at = first; at < len; at += step) {
		feed(&parser, data + at, min_u64(step, len - at), trace);
	}
	http_parser_destroy(&parser);
}

/* Whole, in two at every place, byte by byte: always the same. */
static void check_all(const char *data, size_t len, const char *expected)
{
	struct trace *trace = malloc(sizeof(*trace));

	cr_assert_not_null(trace);
	parse(data, len, len, 1, trace);
	cr_expect_str_eq(trace->text, expected, "[%.200s] gives [%s], not [%s]", data, trace->text,
			 expected);
	for (size_t first = 0; first < len; first++) {
		parse(data, len, first, len, trace);
		cr_expect_str_eq(trace->text, expected, "[%.200s] cut at %zu gives [%s], not [%s]",
				 data, first, trace->text, expected);
	}
	parse(data, len, 0, 1, trace);
	cr_expect_str_eq(trace->text, expected, "[%.200s] by bytes gives [%s], not [%s]", data,
			 trace->text, expected);
	free(trace);
}

struct vector {
	const char *data;
	const char *trace;
};

static void check_vectors(const struct vector *vectors, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		check_all(vectors[i].data, strlen(vectors[i].data), vectors[i].trace);
	}
}

Test(http, request_lines_are_parsed)
{
	static const struct vector vectors[] = {
		{"GET / HTTP/1.1\r\n\r\n", "GET /;"},
		{"PUT /a/b HTTP/1.0\r\n\r\n", "PUT /a/b;"},
		{"PATCH /vm HTTP/1.1\r\n\r\n", "PATCH /vm;"},
		{"DELETE /drives/1 HTTP/1.1\r\n\r\n", "DELETE /drives/1;"},
		{"GET http://localhost/home/sub HTTP/1.1\r\n\r\n", "GET /home/sub;"},
		{"GET http://localhost:80/ HTTP/1.1\r\n\r\n", "GET /;"},
		{"GET http:///x HTTP/1.1\r\n\r\n", "GET /x;"},
		{"GET http://localhost HTTP/1.1\r\n\r\n", "GET /;"},
		{"GET http:// HTTP/1.1\r\n\r\n", "GET /;"},
		{"GET HTTP://localhost/x HTTP/1.1\r\n\r\n", "GET /;"},
		{"GET home HTTP/1.1\r\n\r\n", "GET /;"},
		{"GET * HTTP/1.1\r\n\r\n", "GET /;"},
		{"GET /?a=b#c HTTP/1.1\r\n\r\n", "GET /?a=b#c;"},
		{"GET /\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80 HTTP/1.1\r\n\r\n",
		 "GET /\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80;"},
		{"GET /a\nb HTTP/1.1\r\n\r\n", "GET /a\nb;"},
	};

	check_vectors(vectors, ARRAY_COUNT(vectors));
}

Test(http, bad_request_lines_are_told_apart)
{
#define METHOD "BAD 400 Invalid HTTP Method: Unsupported HTTP method.;"
#define VERSION "BAD 400 Invalid HTTP Version: Unsupported HTTP version.;"
#define UTF8 "BAD 400 Invalid URI: Cannot parse URI as UTF-8.;"
	static const struct vector vectors[] = {
		{"\r\n\r\n", "BAD 400 Invalid request.;"},
		{"GET\r\n\r\n", "BAD 400 Invalid request.;"},
		{"GET /\r\n\r\n", "BAD 400 Invalid request.;"},
		{"POST / HTTP/1.1\r\n\r\n", METHOD},
		{"HEAD / HTTP/1.1\r\n\r\n", METHOD},
		{"OPTIONS / HTTP/1.1\r\n\r\n", METHOD},
		{"get / HTTP/1.1\r\n\r\n", METHOD},
		{"GETS / HTTP/1.1\r\n\r\n", METHOD},
		{"GE / HTTP/1.1\r\n\r\n", METHOD},
		{" GET / HTTP/1.1\r\n\r\n", METHOD},
		{"POST  HTTP/3\r\n\r\n", METHOD},
		{"GET  HTTP/1.1\r\n\r\n", "BAD 400 Invalid URI: Empty URI not allowed.;"},
		{"GET  /  HTTP/1.1\r\n\r\n", "BAD 400 Invalid URI: Empty URI not allowed.;"},
		{"GET / HTTP/2.0\r\n\r\n", VERSION},
		{"GET / http/1.1\r\n\r\n", VERSION},
		{"GET / HTTP/1.1 \r\n\r\n", VERSION},
		{"GET /  HTTP/1.1\r\n\r\n", VERSION},
		{"GET / \r\n\r\n", VERSION},
		{"GET /\xff HTTP/1.1\r\n\r\n", UTF8},
		{"GET /\xc3 HTTP/1.1\r\n\r\n", UTF8},
		{"GET /\xed\xa0\x80 HTTP/9\r\n\r\n", UTF8},
	};
	static const char nul[] = "GET /version\0/x HTTP/1.1\r\n\r\n";

	check_vectors(vectors, ARRAY_COUNT(vectors));
	check_all(nul, sizeof(nul) - 1, UTF8);
}

Test(http, headers_are_understood)
{
#define GET "GET / HTTP/1.1\r\n"
#define PUT "PUT / HTTP/1.1\r\n"
	static const struct vector vectors[] = {
		{PUT "Content-Length: 5\r\n\r\nhello", "PUT / 5:hello;"},
		{PUT "content-length:5\r\n\r\nhello", "PUT / 5:hello;"},
		{PUT "CONTENT-LENGTH \t:\t 05 \r\n\r\nhello", "PUT / 5:hello;"},
		{PUT "Content-Length: +5\r\n\r\nhello", "PUT / 5:hello;"},
		{PUT "Content-Length: 7\r\n\r\na\r\n\r\nb\r", "PUT / 7:a\r\n\r\nb\r;"},
		{PUT "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "PUT / 2:hi;"},
		{PUT "Content-Length: 0\r\n\r\n", "PUT /;"},
		{GET "Accept: application/json\r\n\r\n", "GET / application/json;"},
		{GET "ACCEPT:text/plain\r\n\r\n", "GET / text/plain;"},
		{GET "Accept: */*\r\n\r\n", "GET /;"},
		{GET "Accept:\r\n\r\n", "GET /;"},
		{GET "Accept: text/plain\r\nAccept: image/png\r\n\r\n", "GET / text/plain;"},
		{GET "Host: localhost:80\r\nUser-Agent: x\r\n: y\r\nEmpty:\r\n\r\n", "GET /;"},
		{GET "Content-Type: application/x-www-form-urlencoded\r\n\r\n", "GET /;"},
		{GET "Transfer-Encoding: identity\r\nServer: me\r\n\r\n", "GET /;"},
		{GET "Accept-Encoding: gzip, deflate, br, identity;q=0.5\r\n\r\n", "GET /;"},
		{GET "Accept-Encoding: identity, *;q=0\r\n\r\n", "GET /;"},
		{GET "Accept-Encoding: *;q=0, identity\r\n\r\n", "GET /;"},
		{GET "Accept-Encoding: identity; q=0\r\n\r\n", "GET /;"},
		{GET "X:a\nContent-Length: 5\r\n\r\n", "GET /;"},
		{GET "X:\r\r\n\r\n", "GET /;"},
		{PUT "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "CONTINUE;PUT / 2:hi;"},
		{PUT "Content-Length: 2\r\nexpect:100-continue \r\n\r\nhi", "CONTINUE;PUT / 2:hi;"},
		{PUT "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi", "PUT / 2:hi;"},
		{PUT "Expect: 103-checkpoint\r\nContent-Length: 2\r\n\r\nhi", "PUT / 2:hi;"},
		{PUT "Expect: 100-continue\r\n\r\n", "PUT /;"},
	};

	check_vectors(vectors, ARRAY_COUNT(vectors));
}

Test(http, bad_headers_are_told_apart)
{
#define VALUE(key, value) HEADER "Invalid value. Key:" key "; Value:" value ";"
#define CHARS HEADER "Header contains invalid characters. Key: "
	static const struct vector vectors[] = {
		{GET "Content-Length: alpha\r\n\r\n", VALUE("Content-Length", " alpha")},
		{GET "content-LENGTH : 1 2\r\n\r\n", VALUE("content-LENGTH ", " 1 2")},
		{GET "Content-Length:\r\n\r\n", VALUE("Content-Length", "")},
		{GET "Content-Length: +\r\n\r\n", VALUE("Content-Length", " +")},
		{GET "Content-Length: -1\r\n\r\n", VALUE("Content-Length", " -1")},
		{GET "Content-Length: 5;\r\n\r\n", VALUE("Content-Length", " 5;")},
		{GET "Content-Length: 4294967296\r\n\r\n", VALUE("Content-Length", " 4294967296")},
		{GET "Content-Length: 18446744073709551617\r\n\r\n",
		 VALUE("Content-Length", " 18446744073709551617")},
		{GET "Accept-Encoding: identity;q=0\r\n\r\n",
		 VALUE("Accept-Encoding", "identity;q=0")},
		{GET "accept-encoding: gzip, identity;q=0 ,x\r\n\r\n",
		 VALUE("Accept-Encoding", " identity;q=0 ")},
		{GET "Accept-Encoding: deflate, compress, *;q=0\r\n\r\n",
		 VALUE("Accept-Encoding", " *;q=0")},
		{GET "Accept-Encoding: \r\n\r\n", "BAD 400 Invalid request.;"},
		{GET "no colon\r\n\r\n", HEADER "Header is incorrectly formatted. Key: no colon;"},
		{GET "X: \x9f\r\n\r\n", CHARS "invalid utf-8 sequence of 1 bytes from index 3;"},
		{GET "X: \xf0\x9f\x98x\r\n\r\n",
		 CHARS "invalid utf-8 sequence of 3 bytes from index 3;"},
		{GET "X: \xf0\x9f\x98\r\n\r\n",
		 CHARS "incomplete utf-8 byte sequence from index 3;"},
		{GET "X: \xe0\x80\x80\r\n\r\n",
		 CHARS "invalid utf-8 sequence of 1 bytes from index 3;"},
		{GET "X: \xe2\x82x\r\n\r\n",
		 CHARS "invalid utf-8 sequence of 2 bytes from index 3;"},
		{GET "X\xc0\x80 no colon\r\n\r\n",
		 CHARS "invalid utf-8 sequence of 1 bytes from index 1;"},
	};

	check_vectors(vectors, ARRAY_COUNT(vectors));
}

Test(http, a_payload_over_the_limit_is_refused_before_it_comes)
{
	static const struct vector vectors[] = {
		{PUT "Content-Length: 251\r\n\r\n",
		 "BAD 400 Request payload with size 251 is larger than the limit of 250 allowed by "
		 "server.;"},
		{PUT "Expect: 100-continue\r\nContent-Length: 4294967295\r\n\r\nx",
		 "BAD 400 Request payload with size 4294967295 is larger than the limit of 250 "
		 "allowed by server.;"},
	};
	char just[512];
	char trace[512];

	check_vectors(vectors, ARRAY_COUNT(vectors));
	int len = snprintf(just, sizeof(just), PUT "Content-Length: 250\r\n\r\n%0250d", 1);

	snprintf(trace, sizeof(trace), "PUT / 250:%0250d;", 1);
	check_all(just, (size_t)len, trace);
}

Test(http, requests_follow_one_another)
{
	static const struct vector vectors[] = {
		{GET "\r\n" PUT "Content-Length: 2\r\nAccept: text/plain\r\n\r\nhi" GET "\r\n" PUT
		     "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n!" GET "\r\n",
		 "GET /;PUT / text/plain 2:hi;GET /;CONTINUE;PUT / 1:!;GET /;"},
		{PUT "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n!" PUT
		     "Content-Length: 1\r\n\r\n?",
		 "CONTINUE;PUT / 1:!;PUT / 1:?;"},
		{"GET /", ""},
		{GET "Host: x\r\n", ""},
		{PUT "Content-Length: 2\r\n\r\nh", ""},
		{GET "\r\nGET /half", "GET /;"},
	};

	check_vectors(vectors, ARRAY_COUNT(vectors));
}

Test(http, a_bad_request_is_answered_once_and_skipped)
{
#define REST "GET /next HTTP/1.1\r\n\r\n"
	static const struct vector vectors[] = {
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nGET " REST,
		 METHOD "GET /next;"},
		{"POST / HTTP/9\r\nnonsense\r\nX: \xff\r\n\r\n" REST, METHOD "GET /next;"},
		/* Where its end is unknown, what follows is no request. */
		{"POST / HTTP/9\r\nContent-Length: a\r\n\r\n" REST, METHOD},
		{GET "nonsense\r\nTransfer-Encoding: chunked\r\n\r\n" REST,
		 HEADER "Header is incorrectly formatted. Key: nonsense;"},
		{PUT "Content-Length: 2\r\nContent-Length: 3\r\n\r\n" REST,
		 HEADER "Two values of Content-Length.;"},
		{PUT "Transfer-Encoding: gzip, chunked\r\n\r\n" REST,
		 "BAD 400 Transfer-Encoding is not supported: send the body as it is, with its "
		 "Content-Length.;"},
		{GET "nonsense\r\nExpect: 100-continue\r\nContent-Length: 300\r\n",
		 HEADER "Header is incorrectly formatted. Key: nonsense;"},
		{"x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n\r\n\r" REST,
		 "BAD 400 Invalid request.;GET /next;"},
		{"x\r\nContent-Length: 0\r\n\r\n" REST, "BAD 400 Invalid request.;GET /next;"},
	};
	char large[512];

	check_vectors(vectors, ARRAY_COUNT(vectors));
	int len = snprintf(large, sizeof(large), PUT "Content-Length: 260\r\n\r\n%0260d" REST, 1);

	check_all(large, (size_t)len,
		  "BAD 400 Request payload with size 260 is larger than the limit of 250 allowed "
		  "by server.;GET /next;");
}

/* "<before><as many 'a' as it takes><after>" of `line_len` bytes, then the rest. */
static size_t long_line(char *to, const char *before, size_t line_len, const char *after)
{
	size_t before_len = strlen(before);
	size_t after_len = strlen(after);

	memcpy(to, before, before_len);
	memset(to + before_len, 'a', line_len - before_len - after_len);
	memcpy(to + line_len - after_len, after, after_len);
	memcpy(to + line_len, "\r\n", 2);
	return line_len + 2;
}

Test(http, a_line_has_1024_bytes_with_its_end)
{
	static const size_t lens[] = {1021, 1022, 1023, 1024, 1025, 2046,
				      2047, 2048, 2049, 3071, 5000};
	struct trace *expected = malloc(sizeof(*expected));
	char data[6000];

	cr_assert_not_null(expected);
	for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
		size_t len = long_line(data, "GET /", lens[i], " HTTP/1.1");

		memcpy(data + len, "\r\n" REST, sizeof("\r\n" REST));
		len += sizeof("\r\n" REST) - 1;
		*expected = (struct trace){0};
		if (lens[i] <= 1022) {
			add(expected, data, lens[i] - strlen(" HTTP/1.1"));
			add(expected, ";", 1);
		} else {
			add(expected, "BAD 400 Invalid request.;", 25);
		}
		add(expected, "GET /next;", 10);
		check_all(data, len, expected->text);
	}
	free(expected);
}

Test(http, a_long_header_is_quoted_and_does_not_end_the_request)
{
	static const size_t lens[] = {1022, 1023, 1024, 1025, 3000};
	static const char why[] = HEADER "Invalid content length. Header: ";
	struct trace *expected = malloc(sizeof(*expected));
	char data[6000];

	cr_assert_not_null(expected);
	for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
		memcpy(data, GET, strlen(GET));
		char *line = data + strlen(GET);
		size_t len = strlen(GET) + long_line(line, "X: ", lens[i], "");

		memcpy(data + len, "\r\n" REST, sizeof("\r\n" REST));
		len += sizeof("\r\n" REST) - 1;
		*expected = (struct trace){0};
		if (lens[i] <= 1022) {
			add(expected, "GET /;", 6);
		} else {
			add(expected, why, strlen(why));
			add(expected, line, HTTP_LINE_LEN);
			add(expected, ";", 1);
		}
		add(expected, "GET /next;", 10);
		check_all(data, len, expected->text);
	}
	free(expected);
}

Test(http, heads_of_responses_are_byte_exact)
{
#define LINE(version, status) "HTTP/1." version " " status " \r\n"
#define CLOSING "Server: Firecracker API\r\nConnection: close\r\n"
#define FIXED "Server: Firecracker API\r\nConnection: keep-alive\r\n"
#define JSON "Content-Type: application/json\r\n"
	static char body[] = "{\"a\":1}";
	static const struct {
		enum http_version version;
		struct http_response response;
		const char *head;
		bool has_body;
	} cases[] = {
		{HTTP_1_1,
		 {.status = 200, .body = body, .body_len = 7},
		 LINE("1", "200") FIXED JSON "Content-Length: 7\r\n\r\n",
		 true},
		{HTTP_1_0,
		 {.status = 200, .body = body, .body_len = 7, .content_type = "text/plain"},
		 LINE("0", "200") FIXED "Content-Type: text/plain\r\nContent-Length: 7\r\n\r\n",
		 true},
		{HTTP_1_1, {.status = 204}, LINE("1", "204") FIXED "\r\n", false},
		{HTTP_1_1,
		 {.status = 204, .body = body, .body_len = 7},
		 LINE("1", "204") FIXED "\r\n",
		 false},
		{HTTP_1_1,
		 {.status = 204, .is_deprecated = true},
		 LINE("1", "204") FIXED "Deprecation: true\r\n\r\n",
		 false},
		{HTTP_1_1,
		 {.status = 400, .is_deprecated = true, .body = body, .body_len = 7},
		 LINE("1", "400") FIXED "Deprecation: true\r\n" JSON "Content-Length: 7\r\n\r\n",
		 true},
		{HTTP_1_1,
		 {.status = 405, .headers = "Allow: GET, PUT\r\n", .is_deprecated = true},
		 LINE("1", "405") FIXED "Allow: GET, PUT\r\nDeprecation: true\r\n" JSON
					"Content-Length: 0\r\n\r\n",
		 false},
		{HTTP_1_1,
		 {.status = 204, .headers = "X-a: b\r\n"},
		 LINE("1", "204") FIXED "X-a: b\r\n\r\n",
		 false},
		{HTTP_1_1,
		 {.status = 413},
		 LINE("1", "413") FIXED JSON "Content-Length: 0\r\n\r\n",
		 false},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char head[HTTP_HEAD_LEN] = {0};
		size_t len = http_format_head(head, cases[i].version, &cases[i].response);

		cr_expect_eq(len, strlen(cases[i].head));
		cr_expect_str_eq(head, cases[i].head, "case %zu: [%s]", i, head);
		cr_expect_eq(http_has_body(&cases[i].response), cases[i].has_body);
	}
}

/* Feeds up to the first event. */
static enum http_event first_event(struct http_parser *parser, const char *text)
{
	size_t used;

	http_parser_init(parser, PAYLOAD_MAX);
	return http_parser_feed(parser, text, strlen(text), &used);
}

Test(http, the_version_and_the_form_of_the_uri_are_known)
{
	static const struct {
		const char *text;
		enum http_version version;
		bool has_path;
	} cases[] = {
		{"GET / HTTP/1.1\r\n\r\n", HTTP_1_1, true},
		{"GET /x HTTP/1.0\r\n\r\n", HTTP_1_0, true},
		{"GET http://host/x HTTP/1.1\r\n\r\n", HTTP_1_1, true},
		{"GET http://host HTTP/1.1\r\n\r\n", HTTP_1_1, false},
		{"GET x HTTP/1.1\r\n\r\n", HTTP_1_1, false},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct http_parser parser;
		struct http_request request;

		cr_assert_eq(first_event(&parser, cases[i].text), HTTP_REQUEST);
		http_parser_request(&parser, &request);
		cr_expect_eq(request.version, cases[i].version, "case %zu", i);
		cr_expect_eq(request.has_path, cases[i].has_path, "case %zu", i);
		http_parser_destroy(&parser);
	}
}

static void add_header(void *arg, const struct http_header *header)
{
	struct trace *trace = arg;

	add(trace, header->name, header->name_len);
	add(trace, "=", 1);
	add(trace, header->value, header->value_len);
	add(trace, ";", 1);
}

Test(http, other_headers_are_handed_over_without_blanks)
{
	static const char text[] = "GET / HTTP/1.1\r\nX-One: a b \r\nAccept: text/plain\r\n"
				   " two\t:\t\r\nContent-Type: x\r\nThree:c:d\r\n\r\n";
	struct trace *trace = calloc(1, sizeof(*trace));
	struct http_parser parser;
	size_t used;

	cr_assert_not_null(trace);
	http_parser_init(&parser, PAYLOAD_MAX);
	parser.on_header = add_header;
	parser.header_arg = trace;
	cr_expect_eq(http_parser_feed(&parser, text, strlen(text), &used), HTTP_REQUEST);
	cr_expect_str_eq(trace->text, "X-One=a b;two=;Content-Type=x;Three=c:d;");
	http_parser_destroy(&parser);
	free(trace);
}

Test(http, the_answer_to_a_bad_request_is_byte_exact)
{
	static const struct {
		const char *request;
		const char *response;
	} cases[] = {
		/* What the upstream test for the limit asserts. */
		{PUT "Content-Length: 260\r\n\r\n",
		 LINE("1", "400") FIXED JSON "Content-Length: 145\r\n\r\n{ \"error\": \"Request "
					     "payload with size 260 is larger "
					     "than the limit of 250 allowed by server." LAST},
		{"PATCH / HTTP/1.0\r\nContent-Length: alpha\r\n", LINE("1", "400") CLOSING JSON
		 "Content-Length: 136\r\n\r\n{ \"error\": \"Invalid header. Reason: Invalid value. "
		 "Key:Content-Length; Value: alpha" LAST},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct http_parser parser;
		char to[HTTP_HEAD_LEN];

		cr_assert_eq(first_event(&parser, cases[i].request), HTTP_BAD);
		size_t len = http_format_error(to, &parser);

		cr_expect_eq(len, strlen(cases[i].response));
		cr_expect_arr_eq(to, cases[i].response, len, "case %zu: [%.*s]", i, (int)len, to);
		http_parser_destroy(&parser);
	}
}

Test(http, the_longest_answer_to_a_bad_request_is_whole)
{
	struct http_parser parser;
	char *to = malloc(HTTP_HEAD_LEN);
	char data[4000];
	size_t len = long_line(data + strlen(GET), "X", 3000, "");

	cr_assert_not_null(to);
	memcpy(data, GET, strlen(GET));
	data[strlen(GET) + len] = '\0';
	cr_assert_eq(first_event(&parser, data), HTTP_BAD);
	len = http_format_error(to, &parser);
	cr_assert_lt(len, HTTP_HEAD_LEN);
	cr_expect_arr_eq(to + len - strlen(LAST), LAST, strlen(LAST));

	char *body = memmem(to, len, "\r\n\r\n", 4);

	cr_assert_not_null(body);
	to[len] = '\0';
	cr_expect_eq(strtoul(strstr(to, "Content-Length: ") + 16, NULL, 10), strlen(body + 4));
	http_parser_destroy(&parser);
	free(to);
}

Test(http, the_interim_response_is_in_the_version_of_the_request)
{
	static const char *const versions[] = {"0", "1"};

	for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
		struct http_parser parser;
		char request[128];
		char expected[128];
		char to[HTTP_HEAD_LEN] = {0};

		snprintf(request, sizeof(request),
			 "PUT / HTTP/1.%s\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
			 versions[i]);
		snprintf(expected, sizeof(expected), "HTTP/1.%s 100 \r\n" FIXED "\r\n",
			 versions[i]);
		cr_assert_eq(first_event(&parser, request), HTTP_CONTINUE);
		cr_expect_eq(http_format_continue(to, &parser), strlen(expected));
		cr_expect_str_eq(to, expected);
		http_parser_destroy(&parser);
	}
}

/* Only the sanitizers see whether this is so. */
Test(http, a_parser_may_be_destroyed_at_any_point)
{
	static const char text[] = PUT "Content-Length: 5\r\n\r\nhello" REST;
	struct http_parser zeroed = {0};

	for (size_t len = 0; len < sizeof(text); len++) {
		struct trace trace = {0};
		struct http_parser parser;

		http_parser_init(&parser, PAYLOAD_MAX);
		feed(&parser, text, len, &trace);
		http_parser_destroy(&parser);
	}
	http_parser_destroy(&zeroed);
}
