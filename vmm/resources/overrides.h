/* SPDX-License-Identifier: Apache-2.0 */
/* What a loaded machine or a child of a fork uses of the host in place of what was configured. */
#ifndef VMM_RESOURCES_OVERRIDES_H
#define VMM_RESOURCES_OVERRIDES_H

#include <jansson.h>
#include <stdbool.h>

#include "devices/virtio/net/net.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/schema.h"

/* The items of the three lists. */
struct network_override {
	char *iface_id;
	char *host_dev_name; /* NULL: `backend` */
	struct net_backend backend;
	bool has_backend;
};

struct drive_override {
	char *drive_id;
	char *path_on_host;
	bool copy; /* of forks alone: the file is made, of what the parent's drive has */
};

struct pmem_override {
	char *id;
	char *path_on_host;
};

struct vsock_override {
	char *uds_path;
};

struct overrides {
	struct schema_list networks;
	struct schema_list drives;
	struct schema_list pmems;
	struct vsock_override vsock;
	bool has_vsock;
};

extern const struct schema net_backend_schema; /* of resources/net.c */
extern const struct schema network_override_schema;
extern const struct schema drive_override_schema;
extern const struct schema pmem_override_schema;
extern const struct schema vsock_override_schema;

/* The rows of a body that has a struct overrides called so. */
// clang-format off
#define OVERRIDES_FIELDS(object)                                                                   \
	SCHEMA_LIST_FIELD_AS("network_overrides", object, overrides.networks, SCHEMA_DEFAULTED,    \
			     &network_override_schema),                                            \
	SCHEMA_LIST_FIELD_AS("drive_overrides", object, overrides.drives, SCHEMA_DEFAULTED,        \
			     &drive_override_schema),                                              \
	SCHEMA_LIST_FIELD_AS("pmem_overrides", object, overrides.pmems, SCHEMA_DEFAULTED,          \
			     &pmem_override_schema),                                               \
	SCHEMA_OBJECT_FIELD_AS("vsock_override", object, overrides.vsock, overrides.has_vsock,     \
			       SCHEMA_OPTIONAL, &vsock_override_schema)
// clang-format on

/* Changes the object of a configuration (vm_config.h). An id that it lacks is ERR_BAD_REQUEST. */
MUST_CHECK int overrides_apply(const struct overrides *overrides, json_t *config,
			       struct error *err);

/* Sets a member of an object to a text. */
MUST_CHECK int overrides_set(json_t *object, const char *key, const char *text, struct error *err);

#endif
