/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of a pax entry of any bytes: none is looked for behind them, and no path is longer than
 * its room.
 *
 * Options: -wp-rte
 * Functions: take_text take_size take_member tar_pax_read
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tools/guest_init/tar.h"

/*@ requires len == 0 || \valid_read(in + (0 .. len - 1));
  @ assigns \nothing;
  @ ensures \result == \null || (\exists integer i; 0 <= i < len && \result == in + i);
  @*/
static const char *find(const char *in, char of, size_t len);

/*@ requires \valid_read(one + (0 .. len - 1)) && \valid_read(other + (0 .. len - 1));
  @ assigns \nothing;
  @*/
static int compare(const char *one, const char *other, size_t len);

/*@ requires len == 0 || \valid_read(from + (0 .. len - 1));
  @ requires len == 0 || \valid(to + (0 .. len - 1));
  @ assigns to[0 .. len - 1];
  @*/
static void copy(char *to, const char *from, size_t len);

/* Of heads that are read and written eva_tar.c shows all. */
#define memchr(in, of, len) find((const char *)(in), of, len)
#define memcmp(one, other, len) compare((const char *)(one), other, len)
#define memcpy(to, from, len) copy((char *)(to), (const char *)(from), len)

/*@ requires len == 0 || \valid_read(text + (0 .. len - 1));
  @ requires \valid(to + (0 .. TAR_PATH_MAX - 1));
  @ assigns to[0 .. TAR_PATH_MAX - 1];
  @*/
static bool take_text(const char *text, size_t len, char to[TAR_PATH_MAX]);

/*@ requires len == 0 || \valid_read(text + (0 .. len - 1));
  @ requires \valid(size) && \separated(size, text + (0 .. len - 1));
  @ assigns *size;
  @*/
static bool take_size(const char *text, size_t len, uint64_t *size);

/*@ requires len == 0 || \valid_read(text + (0 .. len - 1));
  @ requires \valid(head) && \separated(head, text + (0 .. len - 1));
  @ assigns *head;
  @*/
static bool take_member(const char *text, size_t len, struct tar_head *head);

/*@ requires len == 0 || \valid_read(text + (0 .. len - 1));
  @ requires \valid(head) && \separated(head, text + (0 .. len - 1));
  @ requires len <= 65536; // as the unpacker's buffer has
  @ assigns *head;
  @*/
bool tar_pax_read(const char *text, size_t len, struct tar_head *head);

#include "tools/guest_init/tar.c"
