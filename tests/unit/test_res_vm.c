/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_vm.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "api/res_vm.h"
#include "tests/fake/api_fake.h"
#include "vmm/base/bytes.h"

Test(res_vm, pause_and_resume_are_timed)
{
	static const struct {
		const char *text;
		enum action_kind asked;
		const char *timed;
	} cases[] = {
		{"{\"state\":\"Paused\"}", ACTION_PAUSE, "pause vm"},
		{"{\"state\":\"Resumed\"}", ACTION_RESUME, "resume vm"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct api_fake fake = {0};
		struct resource_call call = {.execute = api_fake_execute, .arg = &fake};
		struct error err = {0};

		cr_expect_eq(api_fake_call(res_vm_patch, &call, cases[i].text, &err), 0, "%s",
			     err.msg);
		cr_expect_eq(fake.asked.kind, cases[i].asked);
		cr_expect_str_eq(call.timed, cases[i].timed);
	}
}

Test(res_vm, the_configuration_has_what_was_put)
{
	struct api_fake fake = {0};
	struct resource_call call = {.execute = api_fake_execute, .arg = &fake};
	struct error err = {0};

	api_fake_init(&fake);
	fake.config.machine.vcpu_count = 32;
	fake.config.machine.huge_pages = HUGE_PAGES_TRANSPARENT;
	fake.config.boot_source.kernel_image_path = strdup("/k\"");
	fake.config.boot_source.boot_args = strdup("a=b");
	cr_assert_eq(res_vm_config_get(&call, &err), 0, "%s", err.msg);

	char *text = json_dumps(call.reply, JSON_COMPACT);

	cr_expect_str_eq(
		text,
		"{\"balloon\":null,\"drives\":[],\"boot-source\":{\"kernel_image_path\":\"/k\\\"\","
		"\"initrd_path\":null,\"boot_args\":\"a=b\"},\"cpu-config\":null,\"logger\":null,"
		"\"machine-config\":{\"vcpu_count\":32,\"mem_size_mib\":128,\"smt\":false,"
		"\"track_dirty_pages\":false,\"huge_pages\":\"Transparent\"},\"metrics\":null,"
		"\"mmds-config\":null,\"network-interfaces\":[],\"vsock\":null,\"entropy\":null,"
		"\"pmem\":[],\"memory-hotplug\":null}",
		"%s", text);
	free(text);
	json_decref(call.reply);
	api_fake_destroy(&fake);
}

Test(res_vm, devices_are_told_as_they_are)
{
	struct api_fake fake = {0};
	struct resource_call call = {.execute = api_fake_execute, .arg = &fake};
	struct error err = {0};

	api_fake_init(&fake);
	fake.config.drives = calloc(1, sizeof(struct drive));
	fake.config.drives[0] = (struct drive){
		.config = {.drive_id = strdup("a"), .path_on_host = strdup("p")}, .file.fd = -1};
	fake.config.drive_count = 1;
	fake.config.nets = calloc(1, sizeof(struct net_interface));
	fake.config.nets[0] = (struct net_interface){
		.config = {.iface_id = strdup("e"), .host_dev_name = strdup("t"), .mtu = 1500},
		.tap = -1};
	fake.config.net_count = 1;
	fake.config.vsock.config = (struct vsock_config){.guest_cid = 3, .uds_path = strdup("v")};
	fake.config.has_entropy = true;
	fake.config.entropy = (struct rng_config){
		.has_rate_limiter = true,
		.rate_limiter = {.ops = {.size = 1, .refill_time_ms = 2}, .has_ops = true}};
	fake.config.has_balloon = true;
	cr_assert_eq(res_vm_config_get(&call, &err), 0, "%s", err.msg);

	char *text = json_dumps(call.reply, JSON_COMPACT);

	cr_expect_str_eq(
		text,
		"{\"balloon\":{\"amount_mib\":0,\"deflate_on_oom\":false,"
		"\"stats_polling_interval_s\":0,\"free_page_hinting\":false,"
		"\"free_page_reporting\":false},\"drives\":[{\"drive_id\":\"a\",\"partuuid\":null,"
		"\"is_root_device\":false,\"cache_type\":\"Unsafe\",\"is_read_only\":false,"
		"\"path_on_host\":\"p\",\"rate_limiter\":null,\"io_engine\":\"Sync\",\"socket\":"
		"null}],"
		"\"boot-source\":{\"kernel_image_path\":\"\",\"initrd_path\":null,\"boot_args\":"
		"null},"
		"\"cpu-config\":null,\"logger\":null,\"machine-config\":{\"vcpu_count\":1,"
		"\"mem_size_mib\":128,\"smt\":false,\"track_dirty_pages\":false,\"huge_pages\":"
		"\"None\"},\"metrics\":null,\"mmds-config\":null,\"network-interfaces\":[{"
		"\"iface_id\":\"e\",\"host_dev_name\":\"t\",\"guest_mac\":null,\"mtu\":1500,"
		"\"rx_rate_limiter\":null,\"tx_rate_limiter\":null}],\"vsock\":{\"guest_cid\":3,"
		"\"uds_path\":\"v\"},\"entropy\":{\"rate_limiter\":{\"bandwidth\":null,\"ops\":{"
		"\"size\":1,\"one_time_burst\":null,\"refill_time\":2}}},\"pmem\":[],"
		"\"memory-hotplug\":null}",
		"%s", text);
	free(text);
	json_decref(call.reply);
	api_fake_destroy(&fake);
}
