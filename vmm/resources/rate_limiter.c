/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of rate limits, and what becomes of limits that are put. */
#include "vmm/resources/rate_limiter.h"

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

static void note_bucket(struct token_bucket_config *bucket, bool *has_bucket,
			const struct token_bucket_config *update)
{
	*has_bucket = update->size > 0 && update->refill_time_ms > 0;
	*bucket = *has_bucket ? *update : (struct token_bucket_config){0};
}

void rate_limiter_note(struct limiter_config *limits, bool *has_limits,
		       const struct limiter_config *update)
{
	if (update->has_bandwidth) {
		note_bucket(&limits->bandwidth, &limits->has_bandwidth, &update->bandwidth);
	}
	if (update->has_ops) {
		note_bucket(&limits->ops, &limits->has_ops, &update->ops);
	}
	*has_limits = limits->has_bandwidth || limits->has_ops;
}

void rate_limiter_tidy(struct limiter_config *limits, bool *has_limits)
{
	const struct limiter_config asked = *limits;

	*limits = (struct limiter_config){0};
	rate_limiter_note(limits, has_limits, &asked);
}
