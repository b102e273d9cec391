/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /entropy. */
#include "api/res_entropy.h"

#include "api/rate_limiter.h"

struct body {
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
};

static const struct schema_field fields[] = {
	SCHEMA_OBJECT_FIELD(struct body, rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
};

const struct schema res_entropy_schema = SCHEMA("EntropyDeviceConfig", struct body, fields);

int res_entropy_put(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_entropy_schema, NULL, "a virtio entropy device", err);
}
