/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request of any bytes ends, that is not behind them, and no byte beyond is looked at.
 *
 * Options: -wp-rte
 * Functions: is_blank parse_number parse_line mmds_request_len
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/*@ requires len == 0 || \valid_read(in + (0 .. len - 1));
  @ assigns \nothing;
  @ ensures \result == \null || (\exists integer i; 0 <= i < len && \result == in + i);
  @*/
static const char *find(const char *in, char of, size_t len);

/*@ requires \valid_read(one + (0 .. len - 1)) && \valid_read(other + (0 .. len - 1));
  @ assigns \nothing;
  @*/
static int compare(const char *one, const char *other, size_t len);

#define memchr(in, of, len) find(in, of, len)
#define strncasecmp(one, other, len) compare(one, other, len)

/*@ assigns \nothing; */
static bool is_blank(char c);

/*@ requires len == 0 || \valid_read(text + (0 .. len - 1));
  @ requires \valid(value);
  @ assigns *value;
  @*/
static bool parse_number(const char *text, size_t len, uint32_t *value);

/*@ requires len == 0 || \valid_read(line + (0 .. len - 1));
  @ requires \valid(body_len) && len < SIZE_MAX;
  @ assigns *body_len;
  @*/
static void parse_line(const char *line, size_t len, uint32_t *body_len);

/*@ requires len == 0 || \valid_read(data + (0 .. len - 1));
  @ requires \valid(is_cut) && \separated(is_cut, data + (0 .. len - 1)) && len < SIZE_MAX;
  @ assigns *is_cut;
  @ ensures \result <= len;
  @*/
size_t mmds_request_len(const char *data, size_t len, size_t max, bool *is_cut);

#include "devices/mmds/framing.c"
