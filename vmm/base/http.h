/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.x: requests out of bytes, and responses into bytes. No I/O. */
#ifndef VMM_BASE_HTTP_H
#define VMM_BASE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"

enum http_method {
	HTTP_GET,
	HTTP_PUT,
	HTTP_PATCH,
	HTTP_DELETE,
	HTTP_METHODS
};

struct sent;
struct http_owed; /* api/server.h */

enum http_version {
	HTTP_1_0,
	HTTP_1_1
};

/* Valid only during the call that hands it over. */
struct http_request {
	enum http_method method;
	enum http_version version;
	const char *path; /* NUL-terminated, begins with '/'; from an http:// URI too */
	bool has_path;	  /* false: the URI is of another form, for which `path` is "/" */
	const char
		*accept;  /* the last Accept that is "application/json" or "text/plain", or NULL */
	const char *body; /* NUL-terminated beyond body_len; NULL: none */
	size_t body_len;
	struct sent *sent; /* descriptors that came with it; NULL: none. The parser knows none */
};

/* Zeroed before the call. */
struct http_response {
	struct http_owed *owed;	  /* there is no answer yet, and nothing else here; else NULL */
	unsigned status;	  /* 200, 204, 400... */
	bool is_deprecated;	  /* adds "Deprecation: true" [compat] */
	bool is_last;		  /* the connection ends behind it */
	const char *headers;	  /* more lines, each with its CRLF; NULL: none */
	const char *content_type; /* a constant; NULL: application/json */
	char *body;		  /* heap, the server frees it; NULL: none */
	size_t body_len;
};

/* Answers one request, or owes the answer. On the server's thread; may block. */
typedef void (*http_handler)(void *arg, const struct http_request *request,
			     struct http_response *response);

enum {
	HTTP_LINE_LEN = 1024,		     /* the longest line, with its CRLF [compat] */
	HTTP_ERROR_LEN = HTTP_LINE_LEN + 64, /* a sentence that may quote a whole line */
	HTTP_HEADERS_LEN = 128,		     /* of the additional lines of a response */
	HTTP_HEAD_LEN = HTTP_ERROR_LEN + 384 /* of what the http_format_ functions write */
};

enum http_event {
	HTTP_MORE,     /* all bytes are used up, and nothing is complete */
	HTTP_CONTINUE, /* the client waits for http_format_continue before it sends the body */
	HTTP_REQUEST,  /* http_parser_request has it */
	HTTP_BAD,      /* to be answered with http_format_error; the parser skips the request */
	HTTP_LOST      /* nobody knows where the bad request ends: the connection has to end */
};

/* A header, without the blanks around its name and value. Not NUL-terminated. */
struct http_header {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
};

/* The parser's own, but for what http_parser_request gives. About 3 KiB; one per connection. */
struct http_parser {
	uint64_t payload_max; /* bytes of a body; immutable after init */
	/* Gets each header that the parser makes nothing of; NULL: nobody does. Set after init. */
	void (*on_header)(void *arg, const struct http_header *header);
	void *header_arg;
	enum {
		HTTP_IN_REQUEST_LINE,
		HTTP_IN_HEADERS,
		HTTP_IN_BODY,
		HTTP_IS_DONE
	} state;
	bool is_rejected; /* answered already: what is left of the request is skipped */
	bool is_line_cut; /* the line is too long: skipped up to its CRLF */
	uint32_t line_len;
	char line[HTTP_LINE_LEN];

	enum http_method method;
	enum http_version version;
	uint32_t path_begin; /* in `path`, at the same index as in the line that it was in */
	char path[HTTP_LINE_LEN];
	bool has_path;
	const char *accept;
	bool expects_continue;
	bool is_last; /* the connection ends behind the answer to this request */
	bool has_content_len;
	uint32_t content_len;
	uint32_t body_len; /* as far as it has been read */
	char *body;	   /* heap; NULL: there is none, or it is skipped */

	unsigned error_status; /* 400; 500 for want of memory */
	size_t error_len;
	char error[HTTP_ERROR_LEN]; /* a string */
};

/* `payload_max`: the largest Content-Length that is taken, in bytes. */
void http_parser_init(struct http_parser *parser, uint64_t payload_max);

/* A zeroed one is fine. */
void http_parser_destroy(struct http_parser *parser);

/*
 * Takes the next bytes of a connection, cut anywhere, and stops behind the first event; *used tells
 * how many were taken, the caller feeds the others again. After any event the parser is ready for
 * more: a request that was bad is skipped up to its end (the empty line, and as many bytes as its
 * Content-Length says), so that the connection can go on; unless parser->is_last says that it ends
 * behind this request, since the client wants that, or nobody knows where the body ends.
 */
MUST_CHECK enum http_event http_parser_feed(struct http_parser *parser, const char *data,
					    size_t len, size_t *used);

/* What HTTP_REQUEST announced. The strings are the parser's, until it is fed again. */
void http_parser_request(const struct http_parser *parser, struct http_request *request);

/*
 * These write to `to`, of HTTP_HEAD_LEN bytes, and return how many they wrote.
 *
 * http_format_head: all of a response but its body, which follows if http_has_body.
 * http_format_continue: the whole interim response to HTTP_CONTINUE, in the request's version.
 * http_format_error: the whole response to HTTP_BAD.
 */
MUST_CHECK size_t http_format_head(char *to, enum http_version version,
				   const struct http_response *response);
MUST_CHECK size_t http_format_continue(char *to, const struct http_parser *parser);
MUST_CHECK size_t http_format_error(char *to, const struct http_parser *parser);

/* Statuses 1xx and 204 never have a body, whatever the response holds. */
bool http_has_body(const struct http_response *response);

#endif
