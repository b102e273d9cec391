/* SPDX-License-Identifier: Apache-2.0 */
/* Overrides what a configuration says of the host. */
#include "vmm/resources/overrides.h"

#include <string.h>

#include "vmm/base/bytes.h"

enum network_field {
	NETWORK_IFACE_ID,
	NETWORK_HOST_DEV_NAME,
	NETWORK_BACKEND,
};

static const struct schema_field network_fields[] = {
	[NETWORK_IFACE_ID] = SCHEMA_FIELD(struct network_override, iface_id, SCHEMA_REQUIRED),
	[NETWORK_HOST_DEV_NAME] =
		SCHEMA_FIELD(struct network_override, host_dev_name, SCHEMA_REQUIRED),
	[NETWORK_BACKEND] = SCHEMA_OBJECT_FIELD(struct network_override, backend, SCHEMA_OPTIONAL,
						&net_backend_schema),
};

/* [compat] Unknown fields of networks and sockets pass, those of drives and pmem are ours and do
 * not. */
const struct schema network_override_schema = {
	.name = "NetworkOverride",
	.fields = network_fields,
	.count = ARRAY_COUNT(network_fields),
	.size = sizeof(struct network_override),
	.is_open = true,
	.either = NETWORK_HOST_DEV_NAME,
	.or_else = NETWORK_BACKEND,
};

static const struct schema_field drive_fields[] = {
	SCHEMA_FIELD(struct drive_override, drive_id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct drive_override, path_on_host, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct drive_override, copy, SCHEMA_DEFAULTED),
};

const struct schema drive_override_schema =
	SCHEMA("DriveOverride", struct drive_override, drive_fields);

static const struct schema_field pmem_fields[] = {
	SCHEMA_FIELD(struct pmem_override, id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct pmem_override, path_on_host, SCHEMA_REQUIRED),
};

const struct schema pmem_override_schema =
	SCHEMA("PmemOverride", struct pmem_override, pmem_fields);

static const struct schema_field vsock_fields[] = {
	SCHEMA_FIELD(struct vsock_override, uds_path, SCHEMA_REQUIRED),
};

const struct schema vsock_override_schema = {
	.name = "VsockOverride",
	.fields = vsock_fields,
	.count = ARRAY_COUNT(vsock_fields),
	.size = sizeof(struct vsock_override),
	.is_open = true,
};

int overrides_set(json_t *object, const char *key, const char *text, struct error *err)
{
	return json_object_set_new(object, key, json_string(text)) == 0
		       ? 0
		       : error_set(err, ERR_HOST, "Out of memory for the configuration");
}

/* What devices of a kind are called in the configuration, and what is overridden of them. */
struct device_kind {
	const char *list, *id_key, *key;
	const char *unknown; /* the refusal of an id that none of them has */
};

/* The device with this id. */
static int find_device(json_t *config, const struct device_kind *kind, const char *id,
		       json_t **found, struct error *err)
{
	size_t i;
	json_t *object;

	json_array_foreach(json_object_get(config, kind->list), i, object)
	{
		const char *text = json_string_value(json_object_get(object, kind->id_key));

		if (text != NULL && strcmp(text, id) == 0) {
			*found = object;
			return 0;
		}
	}
	return error_set(err, ERR_BAD_REQUEST, "%s (%s)", kind->unknown, id);
}

static int override_device(json_t *config, const struct device_kind *kind, const char *id,
			   const char *text, struct error *err)
{
	json_t *object = NULL;

	return find_device(config, kind, id, &object, err) < 0
		       ? -1
		       : overrides_set(object, kind->key, text, err);
}

/* A TAP takes the place of a back-end, and the other way round. */
static int override_network(json_t *config, const struct network_override *network,
			    struct error *err)
{
	static const struct device_kind kind = {"network-interfaces", "iface_id", "host_dev_name",
						"Unknown Network Device."};
	const struct schema_field *backend = &network_fields[NETWORK_BACKEND];
	json_t *object = NULL;

	if (network->has_backend && network->host_dev_name != NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The network override of %s has a `host_dev_name` and a "
				 "`backend`: give one of them",
				 network->iface_id);
	}
	if (find_device(config, &kind, network->iface_id, &object, err) < 0) {
		return -1;
	}
	if (!network->has_backend) {
		(void)json_object_del(object, backend->name);
		return overrides_set(object, kind.key, network->host_dev_name, err);
	}
	(void)json_object_del(object, kind.key);
	return json_object_set_new(object, backend->name,
				   schema_encode(backend->object, &network->backend, SCHEMA_ALL)) ==
			       0
		       ? 0
		       : error_set(err, ERR_HOST, "Out of memory for the configuration");
}

static int override_networks(const struct schema_list *networks, json_t *config, struct error *err)
{
	const struct network_override *items = networks->items;

	for (size_t i = 0; i < networks->count; i++) {
		if (override_network(config, &items[i], err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int override_drives(const struct schema_list *drives, json_t *config, struct error *err)
{
	static const struct device_kind kind = {
		"drives", "drive_id", "path_on_host",
		"there is no drive with the id of a drive override"};
	const struct drive_override *items = drives->items;

	for (size_t i = 0; i < drives->count; i++) {
		if (override_device(config, &kind, items[i].drive_id, items[i].path_on_host, err) <
		    0) {
			return -1;
		}
	}
	return 0;
}

static int override_pmems(const struct schema_list *pmems, json_t *config, struct error *err)
{
	static const struct device_kind kind = {
		"pmem", "id", "path_on_host",
		"there is no pmem device with the id of a pmem override"};
	const struct pmem_override *items = pmems->items;

	for (size_t i = 0; i < pmems->count; i++) {
		if (override_device(config, &kind, items[i].id, items[i].path_on_host, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int override_vsock(const struct overrides *overrides, json_t *config, struct error *err)
{
	json_t *object = json_object_get(config, "vsock");

	if (!overrides->has_vsock) {
		return 0;
	}
	if (!json_is_object(object)) {
		return error_set(err, ERR_BAD_REQUEST, "Unknown Vsock Device.");
	}
	return overrides_set(object, "uds_path", overrides->vsock.uds_path, err);
}

int overrides_apply(const struct overrides *overrides, json_t *config, struct error *err)
{
	if (override_networks(&overrides->networks, config, err) < 0 ||
	    override_drives(&overrides->drives, config, err) < 0 ||
	    override_pmems(&overrides->pmems, config, err) < 0) {
		return -1;
	}
	return override_vsock(overrides, config, err);
}
