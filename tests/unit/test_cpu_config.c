/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/resources/cpu_config.c and vmm/base/cpu_template.c: what requests make of a
 * template.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/cpu_template.h"
#include "vmm/resources/vm_config.h"

static void set_up(void)
{
	api_bed_init();
}

static void tear_down(void)
{
	microvm_destroy(&api_bed.microvm);
	microvm_destroy(&api_bed.microvm);
	api_bed_destroy();
}

TestSuite(cpu_config, .init = set_up, .fini = tear_down, .timeout = 10);

static const struct cpu_template *put(const char *body)
{
	api_bed_expect("PUT /cpu-config", body, NULL);
	return api_bed.microvm.config.cpu_template;
}

Test(cpu_config, bits_are_those_of_the_bitmap)
{
	const struct cpu_template *made = put(
		"{\"kvm_capabilities\":[\"121\",\"!56\"],\"cpuid_modifiers\":[{\"leaf\":"
		"\"0x80000001\","
		"\"subleaf\":\"0b11\",\"flags\":1,\"modifiers\":[{\"register\":\"ecx\",\"bitmap\":"
		"\"0b10x_x01\"},{\"register\":\"ecx\",\"bitmap\":\"0bx0\"}]}],\"msr_modifiers\":["
		"{\"addr\":\"0x10A\",\"bitmap\":"
		"\"0b1xxx0xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxx1\"},{\"addr\":\"0x10\",\"bitmap\":\"\"}]}");

	cr_assert_eq(made->capability_count, 2);
	cr_expect(made->capabilities[0].cap == 121 && !made->capabilities[0].is_waived);
	cr_expect(made->capabilities[1].cap == 56 && made->capabilities[1].is_waived);
	cr_assert_eq(made->leaf_count, 1);
	cr_expect_eq(made->leaves[0].leaf, 0x80000001);
	cr_expect_eq(made->leaves[0].subleaf, 3);
	cr_expect_eq(made->leaves[0].flags, 1);
	cr_expect_eq(made->leaves[0].regs[2].mask, 0x33);
	cr_expect_eq(made->leaves[0].regs[2].value, 0x20, "the later bits count");
	cr_expect_eq(made->leaves[0].regs[0].mask, 0);
	cr_assert_eq(made->register_count, 2);
	cr_expect_eq(made->registers[0].id, 0x10a);
	cr_expect_eq(made->registers[0].bits.mask[0], UINT64_C(0x8800000000000001));
	cr_expect_eq(made->registers[0].bits.value[0], UINT64_C(0x8000000000000001));
	cr_expect_eq(made->registers[1].bits.mask[0], 0);

	uint64_t value = UINT64_C(0x0f00000000000012);

	cpu_template_apply(&made->registers[0].bits, &value, 1);
	cr_expect_eq(value, UINT64_C(0x8700000000000013));
	cr_expect_eq(cpu_template_apply32(0xff, 0x33, 0x20), 0xec);
}

#define FAULT(text)                                                                                \
	API_FAULT("An error occurred when deserializing the json body of a request: " text ".")
#define LEAF(text)                                                                                 \
	"{\"cpuid_modifiers\":[{\"leaf\":\"" text                                                  \
	"\",\"subleaf\":\"0x0\",\"flags\":0,\"modifiers\":[]}]}"
#define BITMAP(text)                                                                               \
	"{\"cpuid_modifiers\":[{\"leaf\":\"0x1\",\"subleaf\":\"0x0\",\"flags\":0,\"modifiers\":["  \
	"{\"register\":\"eax\",\"bitmap\":\"" text "\"}]}]}"
#define NUMBER_FAULT(text, kind)                                                                   \
	FAULT("Failed to parse string [" text "] as a number for CPU template - ParseIntError { "  \
	      "kind: " kind " }")
#define CAPABILITY_FAULT(text, why)                                                                \
	FAULT("Failed to parse string [" text "] as a kvm capability - can not convert to "        \
	      "numeric: " why)

Test(cpu_config, what_is_no_number_is_refused_and_changes_nothing)
{
	static const struct api_bed_case cases[] = {
		{"PUT /cpu-config", LEAF("1"),
		 FAULT("No supported number system prefix found in value [1]. Make sure to prefix "
		       "the number with '0x' for hexadecimal numbers or '0b' for binary "
		       "numbers")},
		{"PUT /cpu-config", LEAF("0x"), NUMBER_FAULT("0x", "Empty")},
		{"PUT /cpu-config", LEAF("0xg"), NUMBER_FAULT("0xg", "InvalidDigit")},
		{"PUT /cpu-config", LEAF("0b2"), NUMBER_FAULT("0b2", "InvalidDigit")},
		{"PUT /cpu-config", LEAF("0x-1"), NUMBER_FAULT("0x-1", "InvalidDigit")},
		{"PUT /cpu-config", LEAF("0x100000000"),
		 NUMBER_FAULT("0x100000000", "PosOverflow")},
		{"PUT /cpu-config", BITMAP("0b2"),
		 FAULT("Failed to parse string [0b2] as a bitmap - unknown character: 50")},
		{"PUT /cpu-config", BITMAP("0b1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
		 FAULT("Failed to parse string [0b1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx] as a bitmap - "
		       "string is too long")},
		{"PUT /cpu-config", "{\"kvm_capabilities\":[\"\"]}",
		 CAPABILITY_FAULT("", "cannot parse integer from empty string")},
		{"PUT /cpu-config", "{\"kvm_capabilities\":[\"!x\"]}",
		 CAPABILITY_FAULT("!x", "invalid digit found in string")},
		{"PUT /cpu-config", "{\"kvm_capabilities\":[\"4294967296\"]}",
		 CAPABILITY_FAULT("4294967296", "number too large to fit in target type")},
	};
	const struct cpu_template *made = put("{\"kvm_capabilities\":[\"1\"]}");

	api_bed_expect_all(cases, ARRAY_COUNT(cases));
	cr_expect_eq(api_bed.microvm.config.cpu_template, made);
	cr_expect_eq(made->capabilities[0].cap, 1);
}

static char *many(size_t count)
{
	char *body = malloc(64 + count * 4);
	char *at = body + sprintf(body, "{\"kvm_capabilities\":[");

	for (size_t i = 0; i < count; i++) {
		at += sprintf(at, "%s\"1\"", i > 0 ? "," : "");
	}
	strcpy(at, "]}");
	return body;
}

Test(cpu_config, lists_have_an_end)
{
	char *most = many(CPU_TEMPLATE_ITEMS_MAX);
	char *more = many(CPU_TEMPLATE_ITEMS_MAX + 1);

	cr_expect_eq(put(most)->capability_count, CPU_TEMPLATE_ITEMS_MAX);
	api_bed_expect("PUT /cpu-config", more,
		       FAULT("`kvm_capabilities` has 513 items, and at most 512 can be"));
	free(most);
	free(more);
}

/* Each takes the place of the other [compat]. */
Test(cpu_config, the_last_template_counts)
{
	static const char plain[] = "{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":false,"
				    "\"track_dirty_pages\":false,\"huge_pages\":\"None\"}";
	static const char custom[] =
		"{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":false,\"cpu_template\":\"None\","
		"\"track_dirty_pages\":false,\"huge_pages\":\"None\"}";
	static const char named[] =
		"{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":false,\"cpu_template\":\"T2\","
		"\"track_dirty_pages\":false,\"huge_pages\":\"None\"}";
	static const struct api_bed_case cases[] = {
		{"GET /machine-config", NULL, plain},
		{"PUT /cpu-config", "{}", NULL},
		{"GET /machine-config", NULL, custom},
		{"PATCH /machine-config", "{\"cpu_template\":\"T2\"}", NULL},
		{"GET /machine-config", NULL, named},
		{"PUT /machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":128}", NULL},
		{"GET /machine-config", NULL, named},
		{"PUT /cpu-config", "{}", NULL},
		{"GET /machine-config", NULL, custom},
		{"PUT /machine-config",
		 "{\"vcpu_count\":1,\"mem_size_mib\":128,\"cpu_template\":\"None\"}", NULL},
		{"GET /machine-config", NULL, plain},
	};

	api_bed_expect_all(cases, ARRAY_COUNT(cases));
}

static int lacking;

static int answer_extension(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	return (int)(intptr_t)arg != lacking;
}

Test(cpu_config, capabilities_are_asked_for_or_waived)
{
	static const struct kvm_cap needed[] = {{5, "KVM_CAP_FIVE"}};
	const struct cpu_template *made = put("{\"kvm_capabilities\":[\"7\",\"!5\"]}");
	struct error err = {0};

	kvm_fake_script(KVM_CHECK_EXTENSION, answer_extension);
	lacking = 5;
	cr_expect_eq(cpu_template_check_caps(made, 1, needed, 1, &err), 0, "%s", err.msg);
	cr_expect_eq(cpu_template_check_caps(NULL, 1, needed, 1, &err), -1);
	error_clear(&err);
	lacking = 7;
	cr_expect_eq(cpu_template_check_caps(made, 1, needed, 1, &err), -1);
	cr_expect_str_eq(err.msg, "The KVM of this host lacks capability 7, which the CPU template "
				  "asks for");
}

Test(cpu_config, a_template_that_the_host_is_not_for_fails_the_start)
{
	arch_fake_fail("arch_find_template");
	api_bed_put_kernel();
	api_bed_expect("PATCH /machine-config", "{\"cpu_template\":\"T2\"}", NULL);
	api_bed_expect("PUT /actions", "{\"action_type\":\"InstanceStart\"}",
		       API_FAULT("Start microvm error: Failed to get CPU template: "
				 "arch_find_template was told to "
				 "fail"));
	arch_fake_fail(NULL);
	api_bed_expect("PUT /actions", "{\"action_type\":\"InstanceStart\"}", NULL);
}
