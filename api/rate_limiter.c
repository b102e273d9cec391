/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of rate limiters. */
#include "api/rate_limiter.h"

#include "vmm/base/bytes.h"

static const struct schema_field bucket_fields[] = {
	SCHEMA_FIELD(struct token_bucket_config, size, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct token_bucket_config, one_time_burst, SCHEMA_OPTIONAL),
	SCHEMA_FIELD_AS("refill_time", struct token_bucket_config, refill_time_ms, SCHEMA_REQUIRED),
};

const struct schema token_bucket_schema = {
	.name = "TokenBucketConfig",
	.fields = bucket_fields,
	.count = ARRAY_COUNT(bucket_fields),
	.size = sizeof(struct token_bucket_config),
	.is_open = true,
};

static const struct schema_field limiter_fields[] = {
	SCHEMA_OBJECT_FIELD(struct limiter_config, bandwidth, SCHEMA_OPTIONAL,
			    &token_bucket_schema),
	SCHEMA_OBJECT_FIELD(struct limiter_config, ops, SCHEMA_OPTIONAL, &token_bucket_schema),
};

const struct schema rate_limiter_schema =
	SCHEMA("RateLimiterConfig", struct limiter_config, limiter_fields);
