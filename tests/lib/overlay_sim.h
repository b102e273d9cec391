/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to an overlay on a disk that is played: any number of them in flight, calls that take
 * effect and end in any order, are short or fail, a page cache that is written back when it likes,
 * a monitor that is killed, a power loss. What is read is compared with a plain array of what each
 * sector may have: see overlay_sim.c.
 */
#ifndef TESTS_LIB_OVERLAY_SIM_H
#define TESTS_LIB_OVERLAY_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Plays the bytes as a program, and aborts with a message where something is wrong. */
void overlay_sim_play(const uint8_t *program, size_t len, bool is_deferred);

#endif
