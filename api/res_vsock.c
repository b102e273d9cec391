/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /vsock. */
#include "api/res_vsock.h"

struct body {
	char *vsock_id; /* read and forgotten [compat] */
	uint32_t guest_cid;
	char *uds_path;
};

enum field {
	FIELD_VSOCK_ID,
	FIELD_GUEST_CID,
	FIELD_UDS_PATH,
	FIELD_COUNT
};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_VSOCK_ID] = SCHEMA_FIELD(struct body, vsock_id, SCHEMA_OPTIONAL),
	[FIELD_GUEST_CID] = SCHEMA_FIELD(struct body, guest_cid, SCHEMA_REQUIRED),
	[FIELD_UDS_PATH] = SCHEMA_FIELD(struct body, uds_path, SCHEMA_REQUIRED),
};

const struct schema res_vsock_schema = SCHEMA("VsockDeviceConfig", struct body, fields);

int res_vsock_put(struct resource_call *call, struct error *err)
{
	struct body body = {0};
	uint64_t present;
	int result = schema_decode(&res_vsock_schema, call->json, &body, &present, err);

	schema_free(&res_vsock_schema, &body);
	if (result < 0) {
		return -1;
	}
	if (present & 1u << FIELD_VSOCK_ID) {
		call->deprecation = "PUT /vsock: vsock_id field is deprecated.";
	}
	return resource_lacks("a virtio socket device", err);
}
