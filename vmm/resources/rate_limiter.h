/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits as clients write them, and as the configuration keeps them. */
#ifndef VMM_RESOURCES_RATE_LIMITER_H
#define VMM_RESOURCES_RATE_LIMITER_H

#include <stdbool.h>

#include "vmm/base/limiter.h"
#include "vmm/base/schema.h"

/* Tables of struct limiter_config and struct token_bucket_config. */
extern const struct schema rate_limiter_schema;
extern const struct schema token_bucket_schema;

/*
 * Notes limits that a device was given: those that *update has replace those that *limits has. A
 * bucket of size or time 0 is stored as absent.
 */
void rate_limiter_note(struct limiter_config *limits, bool *has_limits,
		       const struct limiter_config *update);

/* Removes buckets of size or time 0, which mean no limit. */
void rate_limiter_tidy(struct limiter_config *limits, bool *has_limits);

#endif
