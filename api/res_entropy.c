/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /entropy. */
#include "api/res_entropy.h"

#include "api/rate_limiter.h"

static const struct schema_field fields[] = {
	SCHEMA_OBJECT_FIELD(struct rng_config, rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
};

const struct schema res_entropy_schema = SCHEMA("EntropyDeviceConfig", struct rng_config, fields);

int res_entropy_put(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_PUT_ENTROPY};
	uint64_t present;

	if (schema_decode(&res_entropy_schema, call->json, &action.entropy, &present, err) < 0) {
		return -1;
	}
	return resource_execute(call, &action, err);
}
