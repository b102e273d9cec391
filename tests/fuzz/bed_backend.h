/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user back-end of a bed. It has its turn where the monitor would wait for it, and
 * answers all that it was asked; bed->fault spoils the next answer.
 */
#ifndef TESTS_FUZZ_BED_BACKEND_H
#define TESTS_FUZZ_BED_BACKEND_H

#include "tests/fuzz/bed.h"

/* What bed->settings say of it, besides. */
enum {
	BED_BACKEND_INFLIGHT = 4, /* it keeps account of requests in flight */
	BED_BACKEND_LEGACY = 8,	  /* it has none of the protocol's features */
};

/* Listens at `path`, as bed->listener. */
void bed_backend_listen(struct bed *bed, const char *path);

void bed_backend_serve(struct bed *bed);

#endif
