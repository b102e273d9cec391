/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of the resources whose devices this build lacks: their bodies are validated to the last
 * field before they are refused.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/api_fake.h"
#include "vmm/base/bytes.h"

#define LACKS(what) "This build of squib does not have " what " yet."
#define BAD "An error occurred when deserializing the json body of a request: "
#define PMEM LACKS("virtio pmem devices")
#define MEMORY LACKS("a virtio memory device")
#define MMDS LACKS("a metadata service")
#define SNAPSHOT LACKS("snapshots")
#define CPU LACKS("custom CPU templates")
#define BUCKET "{\"size\":1,\"one_time_burst\":2,\"refill_time\":3}"
#define LIMITER "{\"bandwidth\":" BUCKET ",\"ops\":" BUCKET "}"
#define MISMATCH "The id from the path does not match the id from the body!"

struct refusal {
	const char *line;
	const char *body;
	const char *msg;
};

static void check(const char *arch, const struct refusal *cases, size_t count)
{
	struct api_fake fake = {0};

	api_fake_init(&fake);
	fake.arch = arch;
	for (size_t i = 0; i < count; i++) {
		struct http_response response =
			api_fake_request(&fake, cases[i].line, cases[i].body);
		json_t *json = response.body != NULL ? json_loads(response.body, 0, NULL) : NULL;

		cr_expect_eq(response.status, 400, "%s %s", cases[i].line, cases[i].body);
		cr_assert_not_null(json, "%s %s", cases[i].line, cases[i].body);
		cr_expect_str_eq(json_string_value(json_object_get(json, "fault_message")),
				 cases[i].msg, "%s %s: %s", cases[i].line,
				 cases[i].body != NULL ? cases[i].body : "", response.body);
		json_decref(json);
		free(response.body);
	}
	cr_expect_eq(fake.count, 0);
	api_fake_destroy(&fake);
}

Test(res_lacking, pmem)
{
	static const struct refusal cases[] = {
		{"PUT /pmem/a", "{\"id\":\"b\",\"path_on_host\":\"p\"}", MISMATCH},
		{"PUT /pmem/a", "{\"id\":\"a\"}",
		 BAD "missing field `path_on_host` at line 1 column 10."},
		{"PATCH /pmem/a", "{\"id\":\"a\",\"rate_limiter\":" LIMITER "}", PMEM},
		{"PATCH /pmem/a", "{\"id\":\"b\"}", MISMATCH},
		{"PATCH /pmem/a", "{}", BAD "missing field `id` at line 1 column 2."},
	};

	check("x86_64", cases, ARRAY_COUNT(cases));
}

Test(res_lacking, a_pmem_device_is_the_machines_to_refuse)
{
	struct api_fake fake = {.fault = "PCI is not enabled"};
	struct http_response response = api_fake_request(
		&fake, "PUT /pmem/a",
		"{\"id\":\"a\",\"path_on_host\":\"p\",\"root_device\":true,\"read_only\":true,"
		"\"rate_limiter\":" LIMITER "}");

	cr_expect_eq(response.status, 400);
	cr_expect_str_eq(response.body, "{\"fault_message\":\"PCI is not enabled\"}");
	cr_expect_eq(fake.count, 1);
	free(response.body);
}

Test(res_lacking, hotplug)
{
	static const struct refusal cases[] = {
		{"GET /hotplug/memory", NULL, MEMORY},
		{"PUT /hotplug/memory",
		 "{\"total_size_mib\":1024,\"block_size_mib\":2,\"slot_size_mib\":128}", MEMORY},
		{"PUT /hotplug/memory", "{}",
		 BAD "missing field `total_size_mib` at line 1 column 2."},
		{"PATCH /hotplug/memory", "{\"requested_size_mib\":1}", MEMORY},
		{"PATCH /hotplug/memory", "{}",
		 BAD "missing field `requested_size_mib` at line 1 column 2."},
	};

	check("x86_64", cases, ARRAY_COUNT(cases));
}

Test(res_lacking, mmds)
{
	static const struct refusal cases[] = {
		{"GET /mmds", NULL, MMDS},
		{"PUT /mmds", "{\"any\":[1,{}]}", MMDS},
		{"PATCH /mmds", "{\"any\":null}", MMDS},
		{"PUT /mmds", "x", BAD "expected value at line 1 column 1."},
		{"PUT /mmds/config",
		 "{\"version\":\"V2\",\"network_interfaces\":[\"a\",\"b\"],\"ipv4_address\":"
		 "\"169.254.1.1\",\"imds_compat\":true}",
		 MMDS},
		{"PUT /mmds/config", "{\"version\":\"V3\"}",
		 BAD "unknown variant `V3`, expected `V1` or `V2` at line 1 column 15."},
		{"PUT /mmds/config", "{\"version\":\"V1\"}",
		 BAD "missing field `network_interfaces` at line 1 column 16."},
	};

	check("x86_64", cases, ARRAY_COUNT(cases));
}

#define BACKEND "\"mem_backend\":{\"backend_path\":\"m\",\"backend_type\":\"Uffd\"}"

Test(res_lacking, snapshot)
{
	static const struct refusal cases[] = {
		{"PUT /snapshot/create",
		 "{\"snapshot_type\":\"Diff\",\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}",
		 SNAPSHOT},
		{"PUT /snapshot/create", "{\"snapshot_path\":\"s\"}",
		 BAD "missing field `mem_file_path` at line 1 column 21."},
		{"PUT /snapshot/create", "{\"snapshot_type\":\"Half\"}",
		 BAD "unknown variant `Half`, expected `Diff` or `Full` at line 1 column 23."},
		{"PUT /snapshot/load",
		 "{\"snapshot_path\":\"s\"," BACKEND
		 ",\"track_dirty_pages\":true,\"resume_vm\":true,\"network_overrides\":[{"
		 "\"iface_id\":\"a\",\"host_dev_name\":\"t\",\"x\":1}],\"vsock_override\":{"
		 "\"uds_path\":\"u\"},\"clock_realtime\":true,\"huge_pages\":\"2M\"}",
		 SNAPSHOT},
		{"PUT /snapshot/load", "{\"snapshot_path\":\"s\"}",
		 BAD "missing field: either `mem_backend` or `mem_file_path` is required."},
		{"PUT /snapshot/load",
		 "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"," BACKEND "}",
		 BAD "too many fields: either `mem_backend` or `mem_file_path` exclusively is "
		     "required."},
		{"PUT /snapshot/load", "{" BACKEND "}",
		 BAD "missing field `snapshot_path` at line 1 column 58."},
		{"PUT /snapshot/load", "{\"mem_backend\":{\"backend_type\":\"File\"}}",
		 BAD "missing field `backend_path` at line 1 column 38."},
		{"PUT /snapshot/load", "{\"network_overrides\":[{\"iface_id\":\"a\"}]}",
		 BAD "missing field `host_dev_name` at line 1 column 38."},
		{"PUT /snapshot/load", "{\"huge_pages\":\"1G\"}",
		 BAD "unknown variant `1G`, expected one of `Snapshot`, `None`, `Transparent`, "
		     "`2M` at line 1 column 18."},
	};
	static const struct refusal arm = {
		"PUT /snapshot/load",
		"{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"clock_realtime\":true}",
		"clock_realtime is not supported on aarch64.",
	};

	check("x86_64", cases, ARRAY_COUNT(cases));
	check("aarch64", &arm, 1);
}

Test(res_lacking, cpu_config)
{
	static const struct refusal x86[] = {
		{"PUT /cpu-config", "{}", CPU},
		{"PUT /cpu-config",
		 "{\"kvm_capabilities\":[\"121\",\"!56\"],\"cpuid_modifiers\":[{\"leaf\":\"0x1\","
		 "\"subleaf\":\"0x0\",\"flags\":0,\"modifiers\":[{\"register\":\"ecx\","
		 "\"bitmap\":\"0bx1\"}]}],\"msr_modifiers\":[{\"addr\":\"0x10a\",\"bitmap\":"
		 "\"0b1\",\"x\":1}]}",
		 CPU},
		{"PUT /cpu-config", "{\"reg_modifiers\":[]}",
		 BAD "unknown field `reg_modifiers`, expected one of `kvm_capabilities`, "
		     "`cpuid_modifiers`, `msr_modifiers` at line 1 column 16."},
		{"PUT /cpu-config",
		 "{\"cpuid_modifiers\":[{\"leaf\":\"0x1\",\"subleaf\":\"0x0\",\"flags\":0,"
		 "\"modifiers\":[{\"register\":\"ax\"}]}]}",
		 BAD "unknown variant `ax`, expected one of `eax`, `ebx`, `ecx`, `edx` at line 1 "
		     "column 89."},
	};
	static const struct refusal arm[] = {
		{"PUT /cpu-config",
		 "{\"kvm_capabilities\":[],\"vcpu_features\":[{\"index\":0,\"bitmap\":\"0b1\"}],"
		 "\"reg_modifiers\":[{\"addr\":\"0x603000000013c020\",\"bitmap\":\"0b1\"}]}",
		 CPU},
		{"PUT /cpu-config", "{\"msr_modifiers\":[]}",
		 BAD "unknown field `msr_modifiers`, expected one of `kvm_capabilities`, "
		     "`vcpu_features`, `reg_modifiers` at line 1 column 16."},
	};

	check("x86_64", x86, ARRAY_COUNT(x86));
	check("aarch64", arm, ARRAY_COUNT(arm));
}
