/* SPDX-License-Identifier: Apache-2.0 */
/* CPU templates of x86_64 on scripted processors. */
#include "template.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "msr.h"
#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"

enum {
	VCPU_FD = 102
};

static const char *vendor = "GenuineIntel";
static uint32_t signature;

static struct cpuid_regs host(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs regs = {0};

	(void)subleaf;
	if (leaf == 0) {
		memcpy(&regs.ebx, vendor, 4);
		memcpy(&regs.edx, vendor + 4, 4);
		memcpy(&regs.ecx, vendor + 8, 4);
	}
	regs.eax = leaf == 1 ? signature : 0x20;
	return regs;
}

Test(template, each_static_template_is_for_some_processors)
{
	static const struct {
		const char *name;
		const char *vendor;
		uint32_t signature;
		const char *fault; /* NULL: it is for this one */
	} cases[] = {
		{"T2", "GenuineIntel", 0x50654, NULL},
		{"T2", "GenuineIntel", 0x50657, NULL},
		{"T2", "GenuineIntel", 0x606a6, NULL},
		{"T2", "GenuineIntel", 0x806f8, "model"},
		{"T2", "GenuineIntel", 0x50655, "model"},
		{"T2", "AuthenticAMD", 0xa00f11, "vendor"},
		{"C3", "GenuineIntel", 0x606a6, NULL},
		{"T2S", "GenuineIntel", 0x50654, NULL},
		{"T2S", "GenuineIntel", 0x606a6, "model"},
		{"T2CL", "GenuineIntel", 0x50654, "model"},
		{"T2CL", "GenuineIntel", 0x606a6, NULL},
		{"T2A", "AuthenticAMD", 0xa00f11, NULL},
		{"T2A", "AuthenticAMD", 0x830f10, "model"},
		{"T2A", "GenuineIntel", 0x50654, "vendor"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct cpu_template *found = NULL;
		struct error err = {0};

		vendor = cases[i].vendor;
		signature = cases[i].signature | 1u << 12; /* the type does not matter */
		cr_expect_eq(template_find(cases[i].name, host, &found, &err),
			     cases[i].fault == NULL ? 0 : -1, "%s on %x", cases[i].name, signature);
		cr_expect_eq(found != NULL, cases[i].fault == NULL);
		cr_expect(cases[i].fault == NULL || strstr(err.msg, cases[i].fault) != NULL, "%s",
			  err.msg);
	}
}

static const struct cpu_template_leaf changes[] = {
	{.leaf = 0x1, .regs = {[2] = {0x6, 0x2}}},
	{.leaf = 0x7, .subleaf = 1, .flags = 1, .regs = {[0] = {0x1, 0x1}}},
};

static const struct cpu_template leaves = {.leaves = changes, .leaf_count = ARRAY_COUNT(changes)};

Test(template, a_leaf_that_kvm_lacks_is_refused)
{
	struct cpuid_table table = {.count = 1, .entry = {{.function = 1}}};
	struct error err = {0};

	cr_expect_eq(template_check_leaves(&leaves, &table, &err), -1);
	cr_expect_str_eq(err.msg, "Template changes a CPUID entry not supported by KVM: Leaf: 7, "
				  "Subleaf: 1: SHA512 (CPUID 0x7.1 EAX bit 0)");
	error_clear(&err);
	table.entry[table.count++] = (struct kvm_cpuid_entry2){.function = 7, .index = 1};
	cr_expect_eq(template_check_leaves(&leaves, &table, &err), 0);
}

/* A dump of all bits has the second level of the topology, which newer KVMs do not list. */
Test(template, a_leaf_that_the_machine_makes_may_be_missing_and_changes_nothing)
{
	static const struct cpu_template_leaf dumped[] = {
		{.leaf = 0xb,
		 .subleaf = 1,
		 .flags = 1,
		 .regs = {{UINT32_MAX, 5}, {UINT32_MAX, 1}, {UINT32_MAX, 0x201}, {UINT32_MAX, 0}}},
	};
	const struct cpu_template dump = {.leaves = dumped, .leaf_count = 1};
	struct cpuid_table table = {.count = 1, .entry = {{.function = 1}}};
	struct error err = {0};

	cr_expect_eq(template_check_leaves(&dump, &table, &err), 0, "%s", err.msg);
	cr_expect_eq(template_apply_leaves(&dump, &table, &err), 0, "%s", err.msg);
	cr_expect_eq(table.count, 1);
}

Test(template, a_leaf_that_is_named_and_nothing_of_it_must_be_there)
{
	static const struct cpu_template_leaf named = {.leaf = 0x12345};
	const struct cpu_template empty = {.leaves = &named, .leaf_count = 1};
	const struct cpuid_table table = {.count = 1, .entry = {{.function = 1}}};
	struct error err = {0};

	cr_expect_eq(template_check_leaves(&empty, &table, &err), -1);
	cr_expect(strstr(err.msg, "Leaf: 12345") != NULL, "%s", err.msg);
}

Test(template, bits_change_and_others_stay)
{
	struct cpuid_table table = {.count = 1, .entry = {{.function = 1, .eax = 9, .ecx = 0xd}}};
	struct error err = {0};

	cr_assert_eq(template_apply_leaves(&leaves, &table, &err), 0);
	cr_expect_eq(table.entry[0].ecx, 0xb);
	cr_expect_eq(table.entry[0].eax, 9);
	/* What guests may not have without a template has the template's bits alone. */
	cr_assert_eq(table.count, 2);
	cr_expect_eq(table.entry[1].function, 7);
	cr_expect_eq(table.entry[1].index, 1);
	cr_expect_eq(table.entry[1].flags, 1);
	cr_expect_eq(table.entry[1].eax, 1);
	table.count = CPUID_ENTRIES_MAX;
	table.entry[1].index = 2;
	cr_expect_eq(template_apply_leaves(&leaves, &table, &err), -1, "there is no room");
}

/* Leaf 0x8000001e, which squib makes, lies behind the last one that this processor names. */
Test(template, only_a_last_leaf_that_is_lowered_hides_what_is_behind_it)
{
	static const struct {
		uint32_t last;
		bool is_kept;
	} cases[] = {{0x8000000a, true}, {0x80000008, false}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct cpu_template_leaf wanted = {.leaf = 0x80000000,
							 .regs = {{UINT32_MAX, cases[i].last}}};
		const struct cpu_template lowered = {.leaves = &wanted, .leaf_count = 1};
		const struct arch_machine machine = {.vcpu_count = 1, .cpu_template = &lowered};
		struct cpuid_table table = {
			.count = 2,
			.entry = {{.eax = 0xd}, {.function = 0x80000000, .eax = 0x8000000a}}};
		struct error err = {0};
		bool is_there = false;

		memcpy(&table.entry[0].ebx, "Auth", 4);
		memcpy(&table.entry[0].edx, "enti", 4);
		memcpy(&table.entry[0].ecx, "cAMD", 4);
		cr_assert_eq(cpuid_normalise(&table, &machine, host, &err), 0, "%s", err.msg);
		for (uint32_t j = 0; j < table.count; j++) {
			is_there |= table.entry[j].function == 0x8000001e;
		}
		cr_expect_eq(is_there, cases[i].is_kept, "last leaf %x", cases[i].last);
	}
}

/* A template is asked before topology is made, which stays the machine's. */
Test(template, a_template_gives_what_no_guest_has_without)
{
	static const struct cpu_template_leaf wanted[] = {
		{.leaf = 0x1, .regs = {[1] = {0x00ff0000, 0}, [2] = {1 << 5, 1 << 5}}},
	};
	const struct cpu_template nested = {.leaves = wanted, .leaf_count = 1};
	struct cpuid_table table = {.count = 2, .entry[0].eax = 0xd};
	struct arch_machine machine = {.vcpu_count = 4, .cpu_template = &nested};
	struct error err = {0};

	memcpy(&table.entry[0].ebx, "Genu", 4);
	memcpy(&table.entry[0].edx, "ineI", 4);
	memcpy(&table.entry[0].ecx, "ntel", 4);
	table.entry[1] = (struct kvm_cpuid_entry2){.function = 1, .ecx = UINT32_MAX};

	struct cpuid_table plain = table;

	cr_assert_eq(cpuid_normalise(&table, &machine, host, &err), 0, "%s", err.msg);
	cr_expect_eq(table.entry[1].ecx & 1 << 5, 1 << 5, "VMX");
	cr_expect_eq(table.entry[1].ebx >> 16 & 0xff, 4, "ids of vCPUs");
	cr_expect(template_has_nested(&table));
	machine.cpu_template = NULL;
	cr_assert_eq(cpuid_normalise(&plain, &machine, host, &err), 0);
	cr_expect_eq(plain.entry[1].ecx & 1 << 5, 0);
	cr_expect(!template_has_nested(&plain));
}

/* What is behind the last leaf of a template can't be named on hosts that lack it. */
Test(template, leaves_behind_the_last_one_are_hidden)
{
	static const struct cpu_template_leaf wanted[] = {
		{.leaf = 0x0, .regs = {[0] = {UINT32_MAX, 0xd}}},
		{.leaf = 0x7, .flags = 1, .regs = {[0] = {UINT32_MAX, 1}}},
		{.leaf = 0x80000000, .regs = {[0] = {UINT32_MAX, 0x80000007}}},
	};
	static const struct kvm_cpuid_entry2 had[] = {
		{.function = 0, .eax = 0x24},
		{.function = 7, .eax = 2, .ebx = 8},
		{.function = 7, .index = 1, .eax = 1 << 4},
		{.function = 7, .index = 2, .edx = 1},
		{.function = 0xd, .index = 2, .eax = 256},
		{.function = 0x1d, .index = 1, .eax = 1},
		{.function = 0x40000001, .eax = 1},
		{.function = 0x80000000, .eax = 0x80000008},
		{.function = 0x80000007, .edx = 1 << 8},
		{.function = 0x80000008, .eax = 48},
	};
	const struct cpu_template last = {.leaves = wanted, .leaf_count = ARRAY_COUNT(wanted)};
	struct cpuid_table table = {.count = ARRAY_COUNT(had)};
	const struct arch_machine machine = {.vcpu_count = 1, .cpu_template = &last};
	struct error err = {0};

	memcpy(table.entry, had, sizeof(had));
	cr_assert_eq(cpuid_normalise(&table, &machine, host, &err), 0, "%s", err.msg);
	for (uint32_t i = 0; i < table.count; i++) {
		const struct kvm_cpuid_entry2 *entry = &table.entry[i];

		cr_expect(entry->function != 0x1d && entry->function != 0x80000008 &&
				  (entry->function != 7 || entry->index < 2),
			  "leaf 0x%x.%u", entry->function, entry->index);
	}
	/* Topology and caches were added: 0xb twice, 0x80000005 and 0x80000006. */
	cr_expect_eq(table.count, 7 + 4);
}

static uint64_t arch_capabilities = 0xffff;
static uint64_t was_set;

static int answer(int fd, unsigned long request, void *arg)
{
	struct kvm_msrs *msrs = arg;

	cr_expect_eq(fd, VCPU_FD);
	cr_assert_eq(msrs->nmsrs, 1);
	if (msrs->entries[0].index != 0x10a) {
		return 0;
	}
	if (request == KVM_SET_MSRS) {
		was_set = msrs->entries[0].data;
	} else {
		msrs->entries[0].data = arch_capabilities;
	}
	return 1;
}

Test(template, registers_change_by_their_bits)
{
	static const struct cpu_template_register known[] = {{0x10a, {{0xf0f}, {0x101}}}};
	static const struct cpu_template_register unknown[] = {{0x999, {{1}, {1}}}};
	const struct cpu_template good = {.registers = known, .register_count = 1};
	const struct cpu_template bad = {.registers = unknown, .register_count = 1};
	struct error err = {0};

	kvm_fake_script(KVM_GET_MSRS, answer);
	kvm_fake_script(KVM_SET_MSRS, answer);
	cr_assert_eq(template_set_msrs(&good, VCPU_FD, &err), 0, "%s", err.msg);
	cr_expect_eq(was_set, 0xf1f1);
	cr_expect_eq(template_set_msrs(&bad, VCPU_FD, &err), -1);
	cr_expect_str_eq(err.msg, "Template changes an MSR entry not supported by KVM: Register "
				  "Address: 999: MSR 0x999");
}

/* What a template sets is saved, whether or not KVM lists it. */
Test(template, its_registers_are_part_of_a_state)
{
	static const struct cpu_template_register extra[] = {{0x999, {{1}, {1}}}};
	const struct cpu_template with = {.registers = extra, .register_count = 1};
	struct msr_list list;
	struct error err = {0};

	cr_assert_eq(msr_list_to_save(1, NULL, &list, &err), 0, "%s", err.msg);
	cr_expect(!msr_list_has(&list, 0x999));
	cr_assert_eq(msr_list_to_save(1, &with, &list, &err), 0, "%s", err.msg);
	cr_expect(msr_list_has(&list, 0x999));
}
