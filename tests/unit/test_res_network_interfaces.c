/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_network_interfaces.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/res_network_interfaces.h"
#include "tests/lib/resource_put.h"
#include "vmm/base/bytes.h"

#define BUCKET "{\"size\":1,\"one_time_burst\":2,\"refill_time\":3}"

Test(res_network_interfaces, all_fields_reach_the_machine)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(
		fake_put(res_network_interfaces_put,
			 "{\"iface_id\":\"a\",\"host_dev_name\":\"tap0\",\"guest_mac\":"
			 "\"06:00:00:00:AB:01\",\"mtu\":1500,\"rx_rate_limiter\":{\"ops\":" BUCKET
			 "},\"tx_rate_limiter\":{\"bandwidth\":" BUCKET "}}",
			 &fake, &err),
		0, "%s", err.msg);
	const struct net_config *net = &fake.asked.net;

	cr_assert_eq(fake.asked.kind, ACTION_PUT_NET);
	cr_expect_str_eq(net->iface_id, "a");
	cr_expect_str_eq(net->host_dev_name, "tap0");
	cr_expect_str_eq(net->guest_mac, "06:00:00:00:ab:01");
	cr_expect_eq(net->mtu, 1500);
	cr_expect(net->has_rx_rate_limiter && net->rx_rate_limiter.has_ops);
	cr_expect(net->has_tx_rate_limiter && net->tx_rate_limiter.has_bandwidth);
	api_fake_destroy(&fake);
}

Test(res_network_interfaces, a_patch_brings_limits)
{
	struct api_fake fake = {0};
	struct error err = {0};

	cr_assert_eq(fake_put(res_network_interfaces_patch,
			      "{\"iface_id\":\"a\",\"rx_rate_limiter\":{\"ops\":" BUCKET
			      "},\"tx_rate_limiter\":null}",
			      &fake, &err),
		     0, "%s", err.msg);
	cr_assert_eq(fake.asked.kind, ACTION_PATCH_NET);
	cr_expect_str_eq(fake.asked.net_update.iface_id, "a");
	cr_expect(fake.asked.net_update.has_rx_rate_limiter);
	cr_expect_not(fake.asked.net_update.has_tx_rate_limiter);
	api_fake_destroy(&fake);
}

Test(res_network_interfaces, faults_do_not_reach_the_machine)
{
	static const struct refusal cases[] = {
		{res_network_interfaces_put, "{\"iface_id\":\"b\",\"host_dev_name\":\"t\"}",
		 "The id from the path [a] does not match the id from the body [b]!"},
		{res_network_interfaces_put, "{\"mtu\":65536}",
		 "Bad: invalid value: integer `65536`, expected u16 at line 1 column 12"},
		{res_network_interfaces_put, "{\"iface_id\":\"a\"}",
		 "Bad: missing field `host_dev_name` at line 1 column 16"},
		{res_network_interfaces_put,
		 "{\"iface_id\":\"a\",\"host_dev_name\":\"t\",\"mtu\":0}",
		 "Network config error: Could not create the network device: MTU 0 is out of range "
		 "[68, 65535]"},
		{res_network_interfaces_put,
		 "{\"iface_id\":\"a\",\"host_dev_name\":\"t\",\"guest_mac\":\"01:02:03\"}",
		 "Bad: The provided MAC address is invalid. at line 1 column 59"},
		{res_network_interfaces_put,
		 "{\"iface_id\":\"a\",\"guest_mac\":\"\" ,\"host_dev_name\":\"t\"}",
		 "Bad: The provided MAC address is invalid. at line 1 column 31"},
		{res_network_interfaces_patch, "{\"iface_id\":\"\"}",
		 "The id from the path [a] does not match the id from the body []!"},
		{res_network_interfaces_patch, "{\"iface_id\":\"a\",\"mtu\":1}",
		 "Bad: unknown field `mtu`, expected one of `iface_id`, `rx_rate_limiter`, "
		 "`tx_rate_limiter` at line 1 column 21"},
	};

	expect_refusals(cases, ARRAY_COUNT(cases));
}
