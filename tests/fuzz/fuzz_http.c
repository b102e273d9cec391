/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the HTTP parser: the input is what a client sends. Fed whole and in pieces of random
 * lengths it must give the same events; each request keeps its promises, and each answer to a bad
 * one is a well-formed response of the length that it says.
 *
 * Besides, it is held against another reader, http_parser. Where both take the first request, its
 * method, target, body and end are the same. One that is plain (is_plain) is taken by both or by
 * neither. What else is taken by one alone:
 * - by squib: any UTF-8 in targets, names and values; blanks before a colon; '+' before a length,
 *   the same length twice, leading blanks of other kinds; all [compat];
 * - by http_parser: other methods and versions, lines without CR, empty lines before a request,
 *   codings of the body; longer lines and bodies.
 * A line that begins with a blank is a header of its own [compat], and a part of the one before to
 * http_parser; CR or LF alone are blanks [compat], and end a line there: such requests are not
 * compared.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/http_reader.h"
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

/* --- against the other reader --- */

/* One that names and numbers are made of, and nothing else. */
static bool is_token(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-';
}

static size_t count_while(const char *at, const char *end, bool (*is_good)(char c))
{
	size_t count = 0;

	while (at + count < end && is_good(at[count])) {
		count++;
	}
	return count;
}

static bool is_visible(char c)
{
	return c > ' ' && c < 0x7f;
}

static bool is_text(char c)
{
	return c >= ' ' && c < 0x7f;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool begins(const char *at, const char *end, const char *word)
{
	size_t len = strlen(word);

	return (size_t)(end - at) >= len && strncasecmp(at, word, len) == 0;
}

/* "name: value" with names that mean nothing, or one plain length. */
static bool is_plain_header(const char *at, const char *end, unsigned *lengths)
{
	static const char *const special[] = {
		"content-length", "transfer-encoding", "connection",	  "accept-encoding",
		"expect",	  "upgrade",	       "proxy-connection"};
	const char *colon = at + count_while(at, end, is_token);

	if (colon == at || !begins(colon, end, ": ") ||
	    colon + 2 + count_while(colon + 2, end, is_text) != end) {
		return false;
	}
	for (size_t i = 0; i < ARRAY_COUNT(special); i++) {
		if ((size_t)(colon - at) == strlen(special[i]) && begins(at, end, special[i])) {
			size_t digits = count_while(colon + 2, end, is_digit);

			return i == 0 && ++*lengths == 1 && digits > 0 && digits < 3 &&
			       colon + 2 + digits == end;
		}
	}
	return true;
}

/* A method of ours, a target and a version between single blanks. */
static bool is_plain_line(const char *at, const char *end)
{
	static const char *const methods[] = {"GET /", "PUT /", "PATCH /", "DELETE /"};
	bool is_ours = false;

	for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
		size_t len = strlen(methods[i]);

		is_ours |= (size_t)(end - at) >= len && memcmp(at, methods[i], len) == 0;
	}
	if (!is_ours) {
		return false;
	}
	at = (const char *)memchr(at, ' ', (size_t)(end - at)) + 1;
	at += count_while(at, end, is_visible);
	return end - at == 9 &&
	       (memcmp(at, " HTTP/1.0", 9) == 0 || memcmp(at, " HTTP/1.1", 9) == 0);
}

/* Begins with lines that are all plain, the last of which is empty. */
static bool is_plain(const char *data, size_t len)
{
	unsigned lengths = 0;

	for (const char *at = data; at < data + len;) {
		const char *end = memmem(at, (size_t)(data + len - at), "\r\n", 2);

		if (end == NULL || end - at > HTTP_LINE_LEN - 2) {
			return false;
		}
		if (end == at) {
			return at != data;
		}
		if (at == data ? !is_plain_line(at, end) : !is_plain_header(at, end, &lengths)) {
			return false;
		}
		at = end + 2;
	}
	return false;
}

/* Lines that begin with a blank, or have half an end in them. */
static bool has_odd_line(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool is_pair = data[i] == '\r' && i + 1 < len && data[i + 1] == '\n';

		if (!is_pair && (data[i] == '\r' || data[i] == '\n')) {
			return true;
		}
		if (is_pair && i + 2 < len && (data[i + 2] == ' ' || data[i + 2] == '\t')) {
			return true;
		}
		i += is_pair;
	}
	return false;
}

/* The first request as squib has it: how many bytes it takes, 0: it is bad or not whole. */
static size_t read_ours(struct http_parser *parser, const char *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t used = 0;
		enum http_event event = http_parser_feed(parser, data + at, len - at, &used);

		at += used;
		if (event == HTTP_REQUEST) {
			return at;
		}
		if (event == HTTP_BAD || event == HTTP_LOST) {
			return 0;
		}
	}
	return 0;
}

static void compare(const char *data, size_t len)
{
	static const char *const methods[] = {"GET", "PUT", "PATCH", "DELETE"};
	static struct http_seen theirs;
	struct http_parser parser;
	struct http_request ours;

	if (len > HTTP_SEEN_MAX) {
		return;
	}
	http_parser_init(&parser, PAYLOAD_MAX);
	size_t end = read_ours(&parser, data, len);

	http_reader_read(data, len, &theirs);
	if (is_plain(data, len)) {
		require((end > 0) == theirs.is_whole);
	}
	if (end > 0 && theirs.is_whole && !has_odd_line(data, end - parser.body_len)) {
		http_parser_request(&parser, &ours);
		require(end == theirs.end && ours.body_len == theirs.body_len);
		require(strcmp(methods[ours.method], theirs.method) == 0);
		require(ours.body_len == 0 || memcmp(ours.body, theirs.body, ours.body_len) == 0);
		if (theirs.target_len > 0 && theirs.target[0] == '/') {
			require(strlen(ours.path) == theirs.target_len &&
				memcmp(ours.path, theirs.target, theirs.target_len) == 0);
		}
	}
	http_parser_destroy(&parser);
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
	compare((const char *)data, len);
	return 0;
}
