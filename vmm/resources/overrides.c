/* SPDX-License-Identifier: Apache-2.0 */
/* Overrides what a configuration says of the host. */
#include "vmm/resources/overrides.h"

#include <string.h>

#include "vmm/base/bytes.h"

static const struct schema_field network_fields[] = {
	SCHEMA_FIELD(struct network_override, iface_id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct network_override, host_dev_name, SCHEMA_REQUIRED),
};

/* [compat] Unknown fields of networks and sockets pass, those of drives and pmem are ours and do
 * not. */
const struct schema network_override_schema = {
	.name = "NetworkOverride",
	.fields = network_fields,
	.count = ARRAY_COUNT(network_fields),
	.size = sizeof(struct network_override),
	.is_open = true,
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

static int override_device(json_t *config, const struct device_kind *kind, const char *id,
			   const char *text, struct error *err)
{
	size_t i;
	json_t *object;

	json_array_foreach(json_object_get(config, kind->list), i, object)
	{
		const char *found = json_string_value(json_object_get(object, kind->id_key));

		if (found != NULL && strcmp(found, id) == 0) {
			return overrides_set(object, kind->key, text, err);
		}
	}
	return error_set(err, ERR_BAD_REQUEST, "%s", kind->unknown);
}

static int override_networks(const struct schema_list *networks, json_t *config, struct error *err)
{
	static const struct device_kind kind = {"network-interfaces", "iface_id", "host_dev_name",
						"Unknown Network Device."};
	const struct network_override *items = networks->items;

	for (size_t i = 0; i < networks->count; i++) {
		if (override_device(config, &kind, items[i].iface_id, items[i].host_dev_name, err) <
		    0) {
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
