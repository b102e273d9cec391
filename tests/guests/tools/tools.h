/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `gt`, the guest's tools in one static program: what busybox has not, and what a guest and its
 * host must do alike. The host's side of a test runs the same program.
 *
 * Each command prints one line "<command>: ok ..." and returns 0, or a line that says what is
 * wrong and returns 1.
 */
#ifndef TESTS_GUEST_TOOLS_TOOLS_H
#define TESTS_GUEST_TOOLS_TOOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- content that both sides can compute --- */

/* Fills `len` bytes with what belongs to byte `offset` of the stream `seed`. */
void pattern_fill(void *data, size_t len, uint64_t seed, uint64_t offset);
/* The index of the first wrong byte; `len` if there is none. */
size_t pattern_check(const void *data, size_t len, uint64_t seed, uint64_t offset);

uint64_t mix(uint64_t number);

/* --- helpers --- */

__attribute__((format(printf, 1, 2))) int complain(const char *fmt, ...); /* returns 1 */
bool read_all(int fd, void *data, size_t len);
bool write_all(int fd, const void *data, size_t len);
uint64_t number(const char *text); /* exits on nonsense */

/* --- streams; an address is as for "send" and "serve" --- */

int stream_listen(const char *text);
/* So many tries, at a tenth of a second each. */
int stream_connect(const char *text, unsigned tries);

/* --- commands; argv[0] is the command's name --- */

int cmd_pattern(int argc, char **argv);
int cmd_keep(int argc, char **argv);
int cmd_kept(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_echo(int argc, char **argv);
int cmd_linger(int argc, char **argv);
int cmd_offload(int argc, char **argv);
int cmd_pairs(int argc, char **argv);
int cmd_queues(int argc, char **argv);
int cmd_eat(int argc, char **argv);
int cmd_io(int argc, char **argv);
int cmd_shout(int argc, char **argv);
int cmd_answer(int argc, char **argv);
int cmd_backend(int argc, char **argv);

#endif
