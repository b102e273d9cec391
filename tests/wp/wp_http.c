/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A piece of a body fits what is left of its buffer, and is within the bytes that came.
 *
 * Functions: take_body
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vmm/base/http.h"

/*@ assigns \nothing;
  @ ensures \result == (a < b ? a : b);
  @ exits \false;
  @*/
static inline uint64_t min_u64(uint64_t a, uint64_t b);

/*@ requires \valid(parser) && parser->body_len <= parser->content_len && len > 0;
  @ requires parser->body == NULL ||
  @	(\valid(parser->body + (0 .. parser->content_len)) &&
  @	 \separated(parser, parser->body + (0 .. parser->content_len)) &&
  @	 \separated(data + (0 .. len - 1), parser->body + (0 .. parser->content_len)));
  @ requires \valid_read(data + (0 .. len - 1)) && \separated(parser, data + (0 .. len - 1));
  @ assigns parser->body_len, parser->state, parser->body[0 .. parser->content_len];
  @ ensures parser->body_len <= parser->content_len;
  @ ensures \result <= len && parser->body_len == \old(parser->body_len) + \result;
  @*/
static size_t take_body(struct http_parser *parser, const char *data, size_t len);

#include "vmm/base/http.c"
