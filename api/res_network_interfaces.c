/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of /network-interfaces/{id}. */
#include "api/res_network_interfaces.h"

#include <string.h>

#include "api/rate_limiter.h"

enum field {
	FIELD_IFACE_ID,
	FIELD_HOST_DEV_NAME,
	FIELD_GUEST_MAC,
	FIELD_MTU,
	FIELD_RX_RATE_LIMITER,
	FIELD_TX_RATE_LIMITER,
	FIELD_COUNT
};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_IFACE_ID] = SCHEMA_FIELD(struct net_config, iface_id, SCHEMA_REQUIRED),
	[FIELD_HOST_DEV_NAME] = SCHEMA_FIELD(struct net_config, host_dev_name, SCHEMA_REQUIRED),
	[FIELD_GUEST_MAC] = SCHEMA_FIELD(struct net_config, guest_mac, SCHEMA_OPTIONAL),
	[FIELD_MTU] = SCHEMA_FIELD(struct net_config, mtu, SCHEMA_OPTIONAL),
	[FIELD_RX_RATE_LIMITER] = SCHEMA_OBJECT_FIELD(struct net_config, rx_rate_limiter,
						      SCHEMA_OPTIONAL, &rate_limiter_schema),
	[FIELD_TX_RATE_LIMITER] = SCHEMA_OBJECT_FIELD(struct net_config, tx_rate_limiter,
						      SCHEMA_OPTIONAL, &rate_limiter_schema),
};

const struct schema res_network_interfaces_schema =
	SCHEMA("NetworkInterfaceConfig", struct net_config, fields);

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct net_update, iface_id, SCHEMA_REQUIRED),
	SCHEMA_OBJECT_FIELD(struct net_update, rx_rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
	SCHEMA_OBJECT_FIELD(struct net_update, tx_rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
};

const struct schema res_network_interfaces_patch_schema =
	SCHEMA("NetworkInterfaceUpdateConfig", struct net_update, patch_fields);

/* The sentence is not that of the other devices [compat]. */
static int check_id(const struct resource_call *call, const char *id, struct error *err)
{
	char in_path[JSON_QUOTE_LEN];
	char in_body[JSON_QUOTE_LEN];

	if (call->path.second == NULL || strcmp(call->path.second, id) == 0) {
		return 0;
	}
	json_quote(call->path.second, strlen(call->path.second), in_path, sizeof(in_path));
	json_quote(id, strlen(id), in_body, sizeof(in_body));
	return error_set(err, ERR_BAD_REQUEST,
			 "The id from the path [%s] does not match the id from the body [%s]!",
			 in_path, in_body);
}

/*
 * [compat] A wrong address is a fault of the JSON. serde tells of it when it is back in the object:
 * before the next comma, or after the brace.
 */
static int check_mac(const struct json_value *json, struct net_config *net, struct error *err)
{
	struct json_member member = json_member_first(json);
	uint8_t mac[NET_MAC_LEN];
	struct error cause = {0};

	if (net->guest_mac == NULL || net_mac_parse(net->guest_mac, mac, &cause) == 0) {
		return 0;
	}
	while (strcmp(member.key, fields[FIELD_GUEST_MAC].name) != 0) {
		member = json_member_next(json, &member);
	}
	error_set(err, ERR_BAD_REQUEST, "The provided MAC address is invalid.");
	if (json_member_next(json, &member).key == NULL) {
		json_error_at(err, json->doc, json_value_end(json));
	} else {
		json_error_after_space(err, json->doc, json_value_end(&member.value));
	}
	return json_fault(err, json->doc);
}

/* In the configuration 0 says that the guest is not told. */
static int check_mtu(const struct net_config *net, uint64_t present, struct error *err)
{
	if (net->mtu == 0 && (present & UINT64_C(1) << FIELD_MTU) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Network config error: Could not create the network device: MTU 0 "
				 "is out of range [%d, 65535]",
				 NET_MTU_MIN);
	}
	return 0;
}

int res_network_interfaces_put(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_PUT_NET};
	uint64_t present;

	if (schema_decode(&res_network_interfaces_schema, call->json, &action.net, &present, err) <
		    0 ||
	    check_mac(call->json, &action.net, err) < 0 ||
	    check_id(call, action.net.iface_id, err) < 0 ||
	    check_mtu(&action.net, present, err) < 0 || resource_execute(call, &action, err) < 0) {
		schema_free(&res_network_interfaces_schema, &action.net);
		return -1;
	}
	return 0;
}

int res_network_interfaces_patch(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_PATCH_NET};
	uint64_t present;
	int result = schema_decode(&res_network_interfaces_patch_schema, call->json,
				   &action.net_update, &present, err);

	if (result == 0) {
		result = check_id(call, action.net_update.iface_id, err);
	}
	if (result == 0) {
		result = resource_execute(call, &action, err);
	}
	schema_free(&res_network_interfaces_patch_schema, &action.net_update);
	return result;
}
