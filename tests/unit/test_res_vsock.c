/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_vsock.c. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "api/res_vsock.h"
#include "tests/lib/resource_put.h"
#include "vmm/base/bytes.h"

Test(res_vsock, address_and_path_reach_the_machine)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(fake_put(res_vsock_put, "{\"guest_cid\":3,\"uds_path\":\"u\"}", &fake, &err),
		     0, "%s", err.msg);
	cr_assert_eq(fake.asked.kind, ACTION_PUT_VSOCK);
	cr_expect_eq(fake.asked.vsock.guest_cid, 3);
	cr_expect_str_eq(fake.asked.vsock.uds_path, "u");
	cr_expect_null(fake.asked.vsock.vsock_id);
	api_fake_destroy(&fake);
}

Test(res_vsock, an_id_is_deprecated_and_never_told_again)
{
	struct api_fake fake = {0};
	struct resource_call call = {.execute = api_fake_execute, .arg = &fake};
	struct error err = {0};

	cr_assert_eq(api_fake_call(res_vsock_put, &call,
				   "{\"vsock_id\":\"v\",\"guest_cid\":3,\"uds_path\":\"u\"}", &err),
		     0, "%s", err.msg);
	cr_expect_str_eq(call.deprecation, "PUT /vsock: vsock_id field is deprecated.");

	json_t *json = res_vsock_encode(&fake.asked.vsock);
	char *text = json_dumps(json, JSON_COMPACT);

	cr_expect_str_eq(text, "{\"guest_cid\":3,\"uds_path\":\"u\"}", "%s", text);
	free(text);
	json_decref(json);
	/* Also where the machine refuses it. */
	fake.fault = "no";
	call.deprecation = NULL;
	cr_assert_eq(api_fake_call(res_vsock_put, &call,
				   "{\"vsock_id\":\"v\",\"guest_cid\":3,\"uds_path\":\"u\"}", &err),
		     -1);
	cr_expect_not_null(call.deprecation);
	api_fake_destroy(&fake);
}

Test(res_vsock, faults_do_not_reach_the_machine)
{
	static const struct refusal cases[] = {
		{res_vsock_put, "{\"guest_cid\":3}",
		 "Bad: missing field `uds_path` at line 1 column 15"},
		{res_vsock_put, "{\"uds_path\":\"u\"}",
		 "Bad: missing field `guest_cid` at line 1 column 16"},
		{res_vsock_put, "{\"guest_cid\":4294967296}",
		 "Bad: invalid value: integer `4294967296`, expected u32 at line 1 column 23"},
		{res_vsock_put, "{\"uds_path\":null}",
		 "Bad: invalid type: null, expected a string at line 1 column 16"},
	};

	expect_refusals(cases, ARRAY_COUNT(cases));
}
