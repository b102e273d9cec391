/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes single pieces of a drive, for the tracer of tests/seccomp/guests. Output: that
 * of bench_disk.c, of which it is a short one.
 */
#define REQUESTS 128
#include "tests/guests/payload/bench_disk.c"
