/* SPDX-License-Identifier: Apache-2.0 */
/* The host's pool of 2 MiB pages. */
#ifndef TESTS_LIB_HUGE_POOL_H
#define TESTS_LIB_HUGE_POOL_H

#include <stdbool.h>

/* A number of the pool: "nr_hugepages", "free_hugepages", "resv_hugepages"; -1: there is none. */
long huge_pool(const char *name);

/* True if the pool has as many pages then. */
bool huge_pool_set(long pages);

#endif
