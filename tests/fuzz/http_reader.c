/* SPDX-License-Identifier: Apache-2.0 */
/* Another reader of HTTP. Its names are those of vmm/base/http.h, so it has a source of its own. */
#include "tests/fuzz/http_reader.h"

#include <dlfcn.h>
#include <http_parser.h>
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

typedef void (*init_fn)(http_parser *parser, enum http_parser_type type);

/* One of its functions has the name of one of ours, by which it can't be linked. */
static init_fn find_init(void)
{
	void *library = dlopen("libhttp_parser.so.2.9", RTLD_NOW);

	require(library != NULL);
	return (init_fn)dlsym(library, "http_parser_init"); // NOLINT
}

static void append(char to[HTTP_SEEN_MAX], size_t *to_len, const char *data, size_t len)
{
	require(len <= HTTP_SEEN_MAX - *to_len);
	memcpy(to + *to_len, data, len);
	*to_len += len;
}

static int on_url(http_parser *parser, const char *data, size_t len)
{
	struct http_seen *seen = parser->data;

	append(seen->target, &seen->target_len, data, len);
	return 0;
}

static int on_body(http_parser *parser, const char *data, size_t len)
{
	struct http_seen *seen = parser->data;

	append(seen->body, &seen->body_len, data, len);
	return 0;
}

static int on_complete(http_parser *parser)
{
	struct http_seen *seen = parser->data;

	seen->is_whole = true;
	http_parser_pause(parser, 1);
	return 0;
}

void http_reader_read(const char *data, size_t len, struct http_seen *seen)
{
	static const http_parser_settings settings = {
		.on_url = on_url, .on_body = on_body, .on_message_complete = on_complete};
	static init_fn init;
	http_parser parser;

	if (init == NULL) {
		init = find_init();
	}
	init(&parser, HTTP_REQUEST);
	parser.data = seen;
	seen->is_whole = false;
	seen->target_len = 0;
	seen->body_len = 0;
	seen->end = http_parser_execute(&parser, &settings, data, len);
	seen->is_whole &= HTTP_PARSER_ERRNO(&parser) == HPE_PAUSED;
	(void)snprintf(seen->method, sizeof(seen->method), "%s", http_method_str(parser.method));
}
