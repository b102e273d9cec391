/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limiters, as the bodies of several resources describe them. */
#ifndef API_RATE_LIMITER_H
#define API_RATE_LIMITER_H

#include "vmm/base/schema.h"
#include "vmm/base/limiter.h"

extern const struct schema token_bucket_schema; /* of struct token_bucket_config */
extern const struct schema rate_limiter_schema; /* of struct limiter_config */

#endif
