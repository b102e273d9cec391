/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limiters, as the bodies of several resources describe them. */
#ifndef API_RATE_LIMITER_H
#define API_RATE_LIMITER_H

#include <stdbool.h>

#include "vmm/base/schema.h"
#include "vmm/config.h"

/* A bucket that is not there sets no limit, or in a PATCH keeps what there is. */
struct rate_limiter_body {
	struct token_bucket_config bandwidth;
	bool has_bandwidth;
	struct token_bucket_config ops;
	bool has_ops;
};

extern const struct schema token_bucket_schema; /* of struct token_bucket_config */
extern const struct schema rate_limiter_schema;

#endif
