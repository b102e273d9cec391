/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the HTTP parser: the input is what a client sends. Fed whole and in pieces of random
 * lengths it must give the same events; each request keeps its promises, and each answer to a bad
 * one is a well-formed response of the length that it says.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"
#include "vmm/base/http.h"

enum {
	PAYLOAD_MAX = 300,
	PIECES_MAX = 40
};

/* FNV-1a: of all that came out, and of the input as the seed of the cuts. */
static const uint64_t fnv_seed = UINT64_C(0xcbf29ce484222325);

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *byte = data;

	for (size_t i = 0; i < len; i++) {
		hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
	}
	return hash;
}

static uint64_t mix_request(uint64_t hash, const struct http_parser *parser)
{
	struct http_request request;

	http_parser_request(parser, &request);
	require(request.path[0] == '/' && strlen(request.path) < HTTP_LINE_LEN);
	require(request.method <= HTTP_DELETE);
	require((request.body == NULL) == (request.body_len == 0));
	require(request.body_len <= PAYLOAD_MAX);
	require(request.accept == NULL || strchr(request.accept, '/') != NULL);
	hash = mix(hash, &request.method, sizeof(request.method));
	hash = mix(hash, request.path, strlen(request.path));
	hash = mix(hash, &request.accept, sizeof(request.accept));
	if (request.body != NULL) {
		require(request.body[request.body_len] == '\0');
		hash = mix(hash, request.body, request.body_len);
	}
	return hash;
}

static uint64_t mix_error(uint64_t hash, const struct http_parser *parser)
{
	static const char last[] = "\nAll previous unanswered requests will be dropped.\" }";
	char to[HTTP_HEAD_LEN + 1];
	size_t len = http_format_error(to, parser);

	require(len < HTTP_HEAD_LEN);
	to[len] = '\0';

	const char *body = strstr(to, "\r\n\r\n{ \"error\": \"");
	const char *length = strstr(to, "Content-Length: ");

	require(body != NULL && length != NULL);
	require(strtoul(length + strlen("Content-Length: "), NULL, 10) == strlen(body + 4));
	require(strcmp(to + len - strlen(last), last) == 0);
	return mix(hash, to, len);
}

static uint64_t mix_continue(uint64_t hash, const struct http_parser *parser)
{
	char to[HTTP_HEAD_LEN];
	size_t len = http_format_continue(to, parser);

	require(len > 4 && memcmp(to + len - 4, "\r\n\r\n", 4) == 0);
	return mix(hash, to, len);
}

static uint64_t feed(struct http_parser *parser, const char *data, size_t len, uint64_t hash)
{
	while (len > 0) {
		size_t used = 0;
		enum http_event event = http_parser_feed(parser, data, len, &used);

		require((used > 0 || event == HTTP_LOST) && used <= len);
		data += used;
		len -= used;
		switch (event) {
		case HTTP_MORE:
			require(len == 0);
			break;
		case HTTP_CONTINUE:
			hash = mix_continue(hash, parser);
			break;
		case HTTP_REQUEST:
			hash = mix_request(hash, parser);
			break;
		case HTTP_BAD:
			hash = mix_error(hash, parser);
			break;
		case HTTP_LOST:
			require(parser->is_rejected && parser->is_last);
			return hash; /* nothing more of this connection */
		}
	}
	return hash;
}

/* Pieces of 1 to `max` bytes, each in a block of its own, so that a read beyond it is seen. */
static uint64_t feed_pieces(const uint8_t *data, size_t len, size_t max)
{
	struct http_parser parser;
	uint64_t random = mix(fnv_seed, data, len);
	uint64_t hash = fnv_seed;

	http_parser_init(&parser, PAYLOAD_MAX);
	while (len > 0) {
		random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		size_t count = min_u64(len, 1 + (random >> 33) % max);
		char *piece = malloc(count);

		require(piece != NULL);
		memcpy(piece, data, count);
		hash = feed(&parser, piece, count, hash);
		free(piece);
		data += count;
		len -= count;
	}
	http_parser_destroy(&parser);
	return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct http_parser parser;

	http_parser_init(&parser, PAYLOAD_MAX);
	uint64_t whole = feed(&parser, (const char *)data, len, fnv_seed);

	http_parser_destroy(&parser);
	require(feed_pieces(data, len, PIECES_MAX) == whole);
	require(feed_pieces(data, len, 3) == whole);
	require(feed_pieces(data, len, HTTP_LINE_LEN * 2) == whole);
	return 0;
}
