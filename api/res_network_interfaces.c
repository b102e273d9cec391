/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /network-interfaces/{id}. */
#include "api/res_network_interfaces.h"

#include <string.h>

#include "api/rate_limiter.h"

struct body {
	char *iface_id;
	char *host_dev_name;
	char *guest_mac;
	uint16_t mtu;
	struct limiter_config rx_rate_limiter;
	bool has_rx_rate_limiter;
	struct limiter_config tx_rate_limiter;
	bool has_tx_rate_limiter;
};

struct patch_body {
	char *iface_id;
	struct limiter_config rx_rate_limiter;
	bool has_rx_rate_limiter;
	struct limiter_config tx_rate_limiter;
	bool has_tx_rate_limiter;
};

static const char lacking[] = "virtio network devices";

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct body, iface_id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, host_dev_name, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct body, guest_mac, SCHEMA_OPTIONAL),
	SCHEMA_FIELD(struct body, mtu, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct body, rx_rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
	SCHEMA_OBJECT_FIELD(struct body, tx_rate_limiter, SCHEMA_OPTIONAL, &rate_limiter_schema),
};

const struct schema res_network_interfaces_schema =
	SCHEMA("NetworkInterfaceConfig", struct body, fields);

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct patch_body, iface_id, SCHEMA_REQUIRED),
	SCHEMA_OBJECT_FIELD(struct patch_body, rx_rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
	SCHEMA_OBJECT_FIELD(struct patch_body, tx_rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
};

const struct schema res_network_interfaces_patch_schema =
	SCHEMA("NetworkInterfaceUpdateConfig", struct patch_body, patch_fields);

/* The sentence is not that of the other devices [compat]. */
static int check_id(const struct resource_call *call, const void *body, struct error *err)
{
	const char *id = *(const char *const *)body;
	char in_path[JSON_QUOTE_LEN];
	char in_body[JSON_QUOTE_LEN];

	if (strcmp(call->path.second, id) == 0) {
		return 0;
	}
	json_quote(call->path.second, strlen(call->path.second), in_path, sizeof(in_path));
	json_quote(id, strlen(id), in_body, sizeof(in_body));
	return error_set(err, ERR_BAD_REQUEST,
			 "The id from the path [%s] does not match the id from the body [%s]!",
			 in_path, in_body);
}

int res_network_interfaces_put(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_network_interfaces_schema, check_id, lacking, err);
}

int res_network_interfaces_patch(struct resource_call *call, struct error *err)
{
	return resource_refuse(call, &res_network_interfaces_patch_schema, check_id, lacking, err);
}

int res_network_interfaces_delete(struct resource_call *call, struct error *err)
{
	(void)call;
	return resource_lacks(lacking, err);
}
