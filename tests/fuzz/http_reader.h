/* SPDX-License-Identifier: Apache-2.0 */
/* A request as another reader of HTTP has it: http_parser 2.9, a library. */
#ifndef TESTS_FUZZ_HTTP_READER_H
#define TESTS_FUZZ_HTTP_READER_H

#include <stdbool.h>
#include <stddef.h>

enum {
	HTTP_SEEN_MAX = 65536 /* bytes; an input is no longer */
};

struct http_seen {
	bool is_whole; /* and good: all else says nothing unless it is */
	char method[16];
	size_t target_len, body_len;
	char target[HTTP_SEEN_MAX];
	char body[HTTP_SEEN_MAX];
	size_t end; /* how many bytes it is */
};

/* Reads the first request of these bytes. */
void http_reader_read(const char *data, size_t len, struct http_seen *seen);

#endif
