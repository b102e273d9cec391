/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of any bytes, cut anywhere, for any time; bodies of up to BODY_MAX bytes, in a
 * buffer that always has room for the longest.
 *
 * Options: -eva-precision 1
 *
 * Not shown here, but by tests/wp, is that a piece of a body fits what is left of its buffer: EVA
 * relates no two numbers.
 */
#include "tests/eva/printf.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/base/http.h"

enum {
	PIECE_LEN = 16,
	BODY_MAX = 4
};

static struct http_parser parser;
static char body_room[BODY_MAX + 1];

static void *take_body_room(void)
{
	return any_bool() ? body_room : NULL;
}

static void copy(void *to, const void *from, size_t len)
{
	if (from == parser.line) {
		/*@ assert len == 0 || \valid_read((const char *)from + (0 .. len - 1)); */
		fill(to, len);
	}
}

#define malloc(len) take_body_room()
#define free(room) (void)(room)
#define memcpy(to, from, len) copy(to, from, len)

#include "vmm/base/http.c"

/* Names and values of headers are pieces of the line, whose lengths are a difference. */
static void look(void *arg, const struct http_header *header)
{
	(void)arg;
	keep((unsigned char)header->name[0]);
	keep((unsigned char)header->value[0]);
}

static void answer(enum http_event event)
{
	char to[HTTP_HEAD_LEN];
	struct http_request request;
	struct http_response response = {.status = any_u32()};

	response.body = any_bool() ? body_room : NULL;
	response.headers = any_bool() ? "" : NULL;
	keep(http_format_head(to, any_bool() ? HTTP_1_0 : HTTP_1_1, &response));
	keep(http_has_body(&response));
	switch (event) {
	case HTTP_MORE:
	case HTTP_LOST:
		break;
	case HTTP_CONTINUE:
		keep(http_format_continue(to, &parser));
		break;
	case HTTP_REQUEST:
		http_parser_request(&parser, &request);
		keep((unsigned char)request.path[0]);
		keep(request.body_len);
		break;
	case HTTP_BAD:
		keep(http_format_error(to, &parser));
		break;
	}
}

void main(void)
{
	char piece[PIECE_LEN];
	size_t used;

	/*@ widen_hints global:"all", 1022, 1023, 1024; */
	http_parser_init(&parser, any_between(0, BODY_MAX));
	parser.on_header = any_bool() ? look : NULL;
	while (any_bool()) {
		size_t len = any_between(0, PIECE_LEN);

		fill(piece, sizeof(piece));
		answer(http_parser_feed(&parser, piece, len, &used));
		keep(used);
	}
	http_parser_destroy(&parser);
}
