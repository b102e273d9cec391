/* SPDX-License-Identifier: Apache-2.0 */
/* The body of /vsock. */
#include "api/res_vsock.h"

enum field {
	FIELD_VSOCK_ID, /* read and forgotten [compat] */
	FIELD_GUEST_CID,
	FIELD_UDS_PATH,
	FIELD_COUNT
};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_VSOCK_ID] = SCHEMA_FIELD(struct vsock_config, vsock_id, SCHEMA_OPTIONAL),
	[FIELD_GUEST_CID] = SCHEMA_FIELD(struct vsock_config, guest_cid, SCHEMA_REQUIRED),
	[FIELD_UDS_PATH] = SCHEMA_FIELD(struct vsock_config, uds_path, SCHEMA_REQUIRED),
};

const struct schema res_vsock_schema = SCHEMA("VsockDeviceConfig", struct vsock_config, fields);

int res_vsock_put(struct resource_call *call, struct error *err)
{
	struct action action = {.kind = ACTION_PUT_VSOCK};
	uint64_t present = 0;
	int result = schema_decode(&res_vsock_schema, call->json, &action.vsock, &present, err);

	if (result == 0 && (present & UINT64_C(1) << FIELD_VSOCK_ID) != 0) {
		call->deprecation = "PUT /vsock: vsock_id field is deprecated.";
	}
	if (result < 0 || resource_execute(call, &action, err) < 0) {
		schema_free(&res_vsock_schema, &action.vsock);
		return -1;
	}
	return 0;
}

json_t *res_vsock_encode(const struct vsock_config *vsock)
{
	return schema_encode(&res_vsock_schema, vsock,
			     SCHEMA_ALL & ~(UINT64_C(1) << FIELD_VSOCK_ID));
}
