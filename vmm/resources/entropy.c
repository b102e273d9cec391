/* SPDX-License-Identifier: Apache-2.0 */
/* /entropy: the source of random numbers. */
#include "vmm/resources/rate_limiter.h"
#include "vmm/resources/resource.h"

static const struct schema_field fields[] = {
	SCHEMA_OBJECT_FIELD(struct rng_config, rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
};

static const struct schema schema = SCHEMA("EntropyDeviceConfig", struct rng_config, fields);

static void clear(struct vm_config *config)
{
	config->has_entropy = false;
}

static json_t *show(const struct vm_config *config)
{
	return resource_show(config->has_entropy, &schema, &config->entropy);
}

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;

	(void)err;
	config->entropy = *(const struct rng_config *)request->body;
	rate_limiter_tidy(&config->entropy.rate_limiter, &config->entropy.has_rate_limiter);
	config->has_entropy = true;
	return 0;
}

static int attach(struct microvm *microvm, const struct attachment *at, struct error *err)
{
	const struct dev_env env = devmgr_env(at->devmgr);
	struct rng *rng;

	if (!microvm->config.has_entropy) {
		return 0;
	}
	if (rng_new(&env, &microvm->config.entropy, &rng, err) < 0 ||
	    devmgr_attach(at, rng_virtio(rng), NULL, err) < 0) {
		return error_wrap(err, "Cannot attach the entropy device");
	}
	return 0;
}

const struct resource entropy_resource = {
	.path = {"entropy"},
	.is_for_boot = true,
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &schema,
			      .prefix = "Entropy config error",
			      .run = put},
	.key = "entropy",
	.file_prefix = "Entropy device error",
	.need = SCHEMA_OPTIONAL,
	.turn = 11,
	.show = show,
	.metrics = &rng_metric_group,
	.attach = attach,
	.clear = clear,
};
