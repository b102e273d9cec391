/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls without which squib dies at once. */
#ifndef SECCOMP_ESSENTIAL_H
#define SECCOMP_ESSENTIAL_H

#include "seccomp/filter.h"

/*
 * Whether the filters of a user's own policy leave each thread what it can't do without.
 * ERR_CORRUPT names the calls that are denied, filter by filter.
 */
MUST_CHECK int essential_check(const struct filter_set *set, struct error *err);

/*
 * Whether the filter of that thread leaves it what an interface takes that the kernel's vhost
 * serves. ERR_BAD_REQUEST names the ioctls that are denied.
 */
MUST_CHECK int essential_check_vhost(const struct filter_set *set, enum filter_thread thread,
				     struct error *err);

#endif
