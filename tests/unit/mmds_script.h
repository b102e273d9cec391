/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversations of a guest with one TCP connection of the metadata service, as lines of text:
 *
 *   < FLAGS SEQ ACK [len N] [win N] [mss N] [VERDICT]   the guest sends; VERDICT: unusual, refused,
 * ended > FLAGS SEQ ACK [len N] [win N] [mss N]             the connection sends exactly this next
 *   -                                                   it has nothing to send
 *   + MS                                                time passes, and timers that are due run
 *   reply N, close, consume N                           what is above the connection does so
 *   buffer, no buffer                                   it gets its buffer, loses it
 *   has N                                               N bytes came that were not consumed
 *   replied, over, given up                             the connection is so
 *   timer MS                                            so long until its deadline; -1: it has none
 *
 * FLAGS are of S, A, F, R and P. SEQ and ACK count from the first number of their side, which each
 * script is run with several of. The window is 65535 and the payload is empty unless stated; all
 * payload is a pattern, which is compared.
 */
#ifndef TESTS_UNIT_MMDS_SCRIPT_H
#define TESTS_UNIT_MMDS_SCRIPT_H

/* Plays the lines up to NULL. Line 1 is the guest's SYN. */
void mmds_play(const char *const *lines);

#define PLAY(...) mmds_play((const char *const[]){__VA_ARGS__, NULL})

#endif
