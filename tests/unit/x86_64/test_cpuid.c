/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID normalisation on a scripted processor of each vendor. */
#include "cpuid.h"

#include <criterion/criterion.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum vendor {
	INTEL,
	AMD,
	OTHER
};

static const char *const vendor_names[] = {"GenuineIntel", "AuthenticAMD", "CentaurHauls"};
static const char *brand = "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz";

/* The host: recognisable numbers, and three levels of cache in 0x8000001d. */
static struct cpuid_regs host(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs regs = {leaf, 0xb0000000 | subleaf, 0xc0000000, 0xffffffff};

	if (leaf >= 0x80000002 && leaf <= 0x80000004) {
		char text[48] = {0};

		strncpy(text, brand, sizeof(text) - 1);
		memcpy(&regs, text + (leaf - 0x80000002) * sizeof(regs), sizeof(regs));
	}
	if (leaf == 0x80000001) {
		regs.ecx |= 1u << 22;
	}
	if (leaf == 0x8000001d) {
		static const uint32_t level[] = {1, 1, 2, 3};

		regs.eax = subleaf < ARRAY_COUNT(level) ? 0x03ffc001 | level[subleaf] << 5 : 0;
	}
	return regs;
}

/* A host that never says that it has no more caches. */
static struct cpuid_regs endless_host(uint32_t leaf, uint32_t subleaf)
{
	(void)leaf;
	(void)subleaf;
	return (struct cpuid_regs){0x121, 0, 1u << 22, 0};
}

/* A host without TOPOEXT, where a leaf that it has not reads as its last basic one. */
static struct cpuid_regs old_host(uint32_t leaf, uint32_t subleaf)
{
	(void)subleaf;
	return leaf == 0x80000001 ? (struct cpuid_regs){0}
				  : (struct cpuid_regs){0x21f, 0xa88, 0xa88, 0};
}

static void add(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf, uint32_t fill)
{
	table->entry[table->count++] = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = subleaf,
		.eax = fill,
		.ebx = fill,
		.ecx = fill,
		.edx = fill,
	};
}

/* What KVM supports, with every other register all zeroes or all ones. */
static struct cpuid_table supported(enum vendor vendor, uint32_t fill)
{
	static const uint32_t leaves[] = {0x1,	      0x6,	  0x7,	      0xa,
					  0xb,	      0x1f,	  0x40000000, 0x80000000,
					  0x80000001, 0x80000002, 0x80000003, 0x80000004,
					  0x80000008, 0x8000001d, 0x8000001e};
	struct cpuid_table table = {.count = 0};

	add(&table, 0, 0, 0);
	memcpy(&table.entry[0].ebx, vendor_names[vendor], 4);
	memcpy(&table.entry[0].edx, vendor_names[vendor] + 4, 4);
	memcpy(&table.entry[0].ecx, vendor_names[vendor] + 8, 4);
	for (size_t i = 0; i < ARRAY_COUNT(leaves); i++) {
		add(&table, leaves[i], 0, fill);
	}
	for (uint32_t i = 0; i < 4; i++) {
		static const uint32_t level[] = {1, 1, 2, 3};

		add(&table, 4, i, 0);
		table.entry[table.count - 1].eax = 0xffffc001 | level[i] << 5;
	}
	add(&table, 4, 4, 0);
	return table;
}

static struct cpuid_table normalised(enum vendor vendor, uint32_t fill, unsigned vcpu_count,
				     bool smt)
{
	struct cpuid_table table = supported(vendor, fill);
	const struct arch_machine machine = {.vcpu_count = vcpu_count, .smt = smt};
	struct error err = {0};

	cr_assert_eq(cpuid_normalise(&table, &machine, host, &err), 0, "%s", err.msg);
	return table;
}

/* The only entry of a leaf and subleaf. */
static const struct kvm_cpuid_entry2 *entry(const struct cpuid_table *table, uint32_t leaf,
					    uint32_t subleaf)
{
	const struct kvm_cpuid_entry2 *found = NULL;

	for (uint32_t i = 0; i < table->count; i++) {
		if (table->entry[i].function == leaf && table->entry[i].index == subleaf) {
			cr_assert_eq(found, NULL, "0x%x.%u is there twice", leaf, subleaf);
			found = &table->entry[i];
		}
	}
	cr_assert_neq(found, NULL, "0x%x.%u is missing", leaf, subleaf);
	return found;
}

enum reg {
	EAX,
	EBX,
	ECX,
	EDX
};

static uint32_t reg(const struct kvm_cpuid_entry2 *from, enum reg which)
{
	const uint32_t regs[] = {from->eax, from->ebx, from->ecx, from->edx};

	return regs[which];
}

/* Bits with one right value whatever KVM says. */
static const struct {
	enum vendor vendor; /* OTHER: of all */
	uint32_t leaf;
	enum reg reg;
	uint32_t mask;
	uint32_t value;
} fixed[] = {
	{OTHER, 0x1, EBX, 0x0000ff00, 0x0800},
	{OTHER, 0x1, EBX, 0x00ff0000, 4 << 16}, /* of 3 vCPUs */
	{OTHER, 0x1, ECX, 1u << 15, 0},
	{OTHER, 0x1, ECX, 1u << 24, 1u << 24},
	{OTHER, 0x1, ECX, 1u << 31, 1u << 31},
	{OTHER, 0x1, EDX, 1u << 28, 1u << 28},
	{OTHER, 0x6, EAX, 1u << 1, 0},
	{OTHER, 0x6, ECX, 1u << 3, 0},
	{INTEL, 0x7, EBX, 1u << 6, 1u << 6},
	{INTEL, 0x7, EBX, 1u << 13, 1u << 13},
	{OTHER, 0x7, ECX, 1u << 5, 0},
	{OTHER, 0xa, EAX, UINT32_MAX, 0},
	{OTHER, 0xa, EBX, UINT32_MAX, 0},
	{OTHER, 0xa, ECX, UINT32_MAX, 0},
	{OTHER, 0xa, EDX, UINT32_MAX, 0},
	{AMD, 0x7, EDX, 1u << 29, 0},
	{AMD, 0x80000001, ECX, 1u << 22, 1u << 22},
	{AMD, 0x80000008, ECX, 0x0000f0ff, 0x5002},
};

Test(cpuid, fixed_bits_are_right_whatever_kvm_says_and_others_stay)
{
	static const uint32_t fills[] = {0, UINT32_MAX};

	for (size_t f = 0; f < ARRAY_COUNT(fills); f++) {
		for (enum vendor vendor = INTEL; vendor <= OTHER; vendor++) {
			const struct cpuid_table table = normalised(vendor, fills[f], 3, false);

			for (size_t i = 0; i < ARRAY_COUNT(fixed); i++) {
				const bool applies =
					fixed[i].vendor == OTHER || fixed[i].vendor == vendor;
				const uint32_t value =
					applies ? fixed[i].value : fills[f] & fixed[i].mask;

				cr_expect_eq(reg(entry(&table, fixed[i].leaf, 0), fixed[i].reg) &
						     fixed[i].mask,
					     value, "vendor %u, row %zu", vendor, i);
			}
			/* KVM's paravirtual leaves are none of our business. */
			cr_expect_eq(entry(&table, 0x40000000, 0)->ebx, fills[f]);
		}
	}
}

Test(cpuid, one_vcpu_has_no_threads_to_count)
{
	const struct cpuid_table table = normalised(INTEL, UINT32_MAX, 1, true);

	cr_expect_eq(entry(&table, 1, 0)->edx >> 28 & 1, 0);
	cr_expect_eq(entry(&table, 1, 0)->ebx >> 16 & 0xff, 1);
	cr_expect_eq(entry(&table, 0xb, 0)->eax, 0);
	cr_expect_eq(entry(&table, 0xb, 0)->ebx, 1);
}

static const struct {
	unsigned vcpu_count;
	bool smt;
	uint32_t id_space; /* 1.EBX[23:16] */
	uint32_t threads;
	uint32_t cores;
} topologies[] = {
	{1, false, 1, 1, 1},	{2, false, 2, 1, 2},	{2, true, 2, 2, 1},
	{5, false, 8, 1, 5},	{6, true, 8, 2, 3},	{16, true, 16, 2, 8},
	{17, false, 32, 1, 17}, {32, false, 32, 1, 32}, {32, true, 32, 2, 16},
};

Test(cpuid, topology_is_one_package_of_cores_and_threads)
{
	for (size_t i = 0; i < ARRAY_COUNT(topologies); i++) {
		const struct cpuid_table table =
			normalised(INTEL, 0, topologies[i].vcpu_count, topologies[i].smt);
		static const uint32_t leaves[] = {0xb, 0x1f};

		cr_expect_eq(entry(&table, 1, 0)->ebx >> 16 & 0xff, topologies[i].id_space);
		for (size_t l = 0; l < ARRAY_COUNT(leaves); l++) {
			const struct kvm_cpuid_entry2 *threads = entry(&table, leaves[l], 0);
			const struct kvm_cpuid_entry2 *cores = entry(&table, leaves[l], 1);

			cr_expect_eq(threads->eax, topologies[i].threads == 2);
			cr_expect_eq(threads->ebx, topologies[i].threads);
			cr_expect_eq(threads->ecx, 0x100);
			cr_expect_eq(threads->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
			cr_expect_eq(cores->eax, 5);
			cr_expect_eq(cores->ebx, topologies[i].vcpu_count);
			cr_expect_eq(cores->ecx, 0x201);
			cr_expect_eq(cores->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
		}
		/* L1 and L2 are the core's, L3 is everybody's. */
		for (uint32_t cache = 0; cache < 4; cache++) {
			const uint32_t eax = entry(&table, 4, cache)->eax;
			const uint32_t sharing =
				cache < 3 ? topologies[i].threads : topologies[i].vcpu_count;

			cr_expect_eq(eax >> 14 & 0xfff, sharing - 1);
			cr_expect_eq(eax >> 26, topologies[i].cores - 1);
			cr_expect_eq(eax & 0x1f, 1);
		}
		cr_expect_eq(entry(&table, 4, 4)->eax, 0, "no more caches");
	}
}

Test(cpuid, leaf_1f_is_only_given_to_processors_that_have_it)
{
	struct cpuid_table table = supported(INTEL, 0);
	const struct arch_machine machine = {.vcpu_count = 2};
	struct error err = {0};

	for (uint32_t i = 0; i < table.count; i++) {
		if (table.entry[i].function == 0x1f) {
			table.entry[i].function = 0x20;
		}
	}
	cr_assert_eq(cpuid_normalise(&table, &machine, host, &err), 0);
	for (uint32_t i = 0; i < table.count; i++) {
		cr_expect_neq(table.entry[i].function, 0x1f);
	}
}

Test(cpuid, each_vcpu_has_its_apic_id_in_every_place)
{
	struct cpuid_table intel = normalised(INTEL, UINT32_MAX, 6, true);
	struct cpuid_table amd = normalised(AMD, UINT32_MAX, 6, true);

	/* Twice over: ids of the vCPU before must not shine through. */
	for (unsigned i = 11; i-- > 0;) {
		const unsigned index = i % 6;

		cpuid_set_vcpu(&intel, true, index);
		cpuid_set_vcpu(&amd, true, index);
		cr_expect_eq(entry(&intel, 1, 0)->ebx, index << 24 | 8 << 16 | 0x08ff);
		cr_expect_eq(entry(&intel, 0xb, 0)->edx, index);
		cr_expect_eq(entry(&intel, 0xb, 1)->edx, index);
		cr_expect_eq(entry(&intel, 0x1f, 1)->edx, index);
		cr_expect_eq(entry(&amd, 0xb, 1)->edx, index);
		cr_expect_eq(entry(&amd, 0x8000001e, 0)->eax, index);
		cr_expect_eq(entry(&amd, 0x8000001e, 0)->ebx, 1 << 8 | index / 2);
		cr_expect_eq(entry(&amd, 0x8000001e, 0)->ecx, 0);
	}
	cpuid_set_vcpu(&amd, false, 5);
	cr_expect_eq(entry(&amd, 0x8000001e, 0)->ebx & 0xff, 5);
}

Test(cpuid, amd_caches_are_the_hosts_with_the_guests_sharing)
{
	const struct cpuid_table table = normalised(AMD, 0, 6, true);

	for (uint32_t cache = 0; cache < 4; cache++) {
		const struct kvm_cpuid_entry2 *got = entry(&table, 0x8000001d, cache);

		cr_expect_eq(got->eax >> 14 & 0xfff, cache < 3 ? 1 : 5);
		cr_expect_eq(got->ebx, 0xb0000000 | cache);
		cr_expect_eq(got->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	}
}

Test(cpuid, host_leaves_of_l1_and_l2_are_added_without_reserved_bits)
{
	for (enum vendor vendor = INTEL; vendor <= OTHER; vendor++) {
		const struct cpuid_table table = normalised(vendor, 0, 1, false);

		cr_expect_eq(entry(&table, 0x80000005, 0)->eax, 0x80000005);
		cr_expect_eq(entry(&table, 0x80000005, 0)->edx, UINT32_MAX);
		cr_expect_eq(entry(&table, 0x80000006, 0)->eax, 0x80000006);
		cr_expect_eq(entry(&table, 0x80000006, 0)->edx, 0xfffcffff);
	}
}

static void expect_brand(const struct cpuid_table *table, const char *expected)
{
	char text[49] = {0};

	for (uint32_t i = 0; i < 3; i++) {
		const struct kvm_cpuid_entry2 *from = entry(table, 0x80000002 + i, 0);
		const struct cpuid_regs regs = {from->eax, from->ebx, from->ecx, from->edx};

		memcpy(text + i * sizeof(regs), &regs, sizeof(regs));
	}
	cr_expect_str_eq(text, expected);
}

static const struct {
	const char *host;
	const char *guest;
} brands[] = {
	{"Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", "Intel(R) Xeon(R) Processor @ 2.50GHz"},
	{"Intel(R) Xeon(R) Platinum 8375C CPU", "Intel(R) Xeon(R) Processor"},
	{"", "Intel(R) Xeon(R) Processor"},
	{"Intel @ home", "Intel(R) Xeon(R) Processor"},
	/* 48 bytes without a NUL, and more than fits behind the guest's name */
	{" @ 0123456789012345678901234567890123456789GHz!!",
	 "Intel(R) Xeon(R) Processor @ 012345678901234567"},
};

Test(cpuid, intel_guests_see_the_hosts_frequency_but_not_its_model)
{
	for (size_t i = 0; i < ARRAY_COUNT(brands); i++) {
		brand = brands[i].host;

		const struct cpuid_table table = normalised(INTEL, UINT32_MAX, 1, false);

		expect_brand(&table, brands[i].guest);
	}
}

Test(cpuid, amd_guests_see_an_epyc)
{
	const struct cpuid_table table = normalised(AMD, UINT32_MAX, 1, false);

	expect_brand(&table, "AMD EPYC");
}

Test(cpuid, a_table_that_kvm_filled_is_an_error_where_leaves_must_be_added)
{
	struct cpuid_table table = supported(AMD, 0);
	const struct arch_machine machine = {.vcpu_count = 2};
	struct error err = {0};

	while (table.count < CPUID_ENTRIES_MAX) {
		add(&table, 0x18, table.count, 0);
	}
	cr_assert_eq(cpuid_normalise(&table, &machine, host, &err), -1);
	cr_assert_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_assert_eq(table.count, CPUID_ENTRIES_MAX);
}

Test(cpuid, a_host_with_endless_caches_is_cut_off)
{
	struct cpuid_table table = supported(AMD, 0);
	const struct arch_machine machine = {.vcpu_count = 2};
	struct error err = {0};

	cr_assert_eq(cpuid_normalise(&table, &machine, endless_host, &err), 0);
	cr_assert_lt(table.count, 40);
}

Test(cpuid, caches_are_left_out_where_the_host_does_not_tell_of_them)
{
	struct cpuid_table table = supported(AMD, 0);
	const struct arch_machine machine = {.vcpu_count = 2};
	struct error err = {0};

	cr_assert_eq(cpuid_normalise(&table, &machine, old_host, &err), 0);
	for (uint32_t i = 0; i < table.count; i++) {
		cr_expect_neq(table.entry[i].function, 0x8000001d);
	}
}

/* As KVM of Linux 6.18 described an EPYC 9B14: ordinary programs find all that was there. */
Test(cpuid, a_recorded_host_keeps_its_features)
{
	static const struct {
		uint32_t leaf;
		struct cpuid_regs regs;
	} recorded[] = {
		{0x1, {0xa10f11, 0x20800, 0x81202000, 0x178bfbff}},
		{0x7, {0x1, 0x1800002, 0x104, 0}},
		{0x80000001, {0xa10f11, 0x40000000, 0x400393, 0x23d3fbff}},
		{0x80000007, {0, 0, 0, 0x100}},
		{0x80000008, {0x3030, 0x50020005, 0x5001, 0}},
		{0x80000021, {0x204, 0, 0x6, 0}},
		{0x40000001, {0x1007efb, 0, 0, 0}},
	};
	struct cpuid_table table = supported(AMD, 0);
	const struct arch_machine machine = {.vcpu_count = 2};
	struct error err = {0};

	add(&table, 0x80000007, 0, 0);
	add(&table, 0x80000021, 0, 0);
	add(&table, 0x40000001, 0, 0);
	for (size_t i = 0; i < ARRAY_COUNT(recorded); i++) {
		for (uint32_t e = 0; e < table.count; e++) {
			if (table.entry[e].function == recorded[i].leaf) {
				memcpy(&table.entry[e].eax, &recorded[i].regs,
				       sizeof(struct cpuid_regs));
			}
		}
	}
	cr_assert_eq(cpuid_normalise(&table, &machine, host, &err), 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(recorded); i++) {
		const struct kvm_cpuid_entry2 *found = entry(&table, recorded[i].leaf, 0);
		const uint32_t added = recorded[i].leaf == 0x1 ? 1u << 24 : 0; /* TSC deadline */

		cr_expect_eq(found->ebx, recorded[i].regs.ebx, "0x%x", recorded[i].leaf);
		cr_expect_eq(found->ecx, recorded[i].regs.ecx | added, "0x%x", recorded[i].leaf);
		cr_expect_eq(found->edx, recorded[i].regs.edx, "0x%x", recorded[i].leaf);
	}
}

/* The places that number a package's threads agree, or Linux finds more packages than one. */
Test(cpuid, the_apic_id_has_as_many_bits_everywhere)
{
	const struct cpuid_table table = normalised(AMD, 0, 32, true);

	cr_expect_eq(entry(&table, 0x80000008, 0)->ecx >> 12 & 0xf, entry(&table, 0xb, 1)->eax);
}

Test(cpuid, the_real_host_answers)
{
	const struct cpuid_regs regs = cpuid_read_host(0, 0);

	cr_assert_geq(regs.eax, 1);
	cr_assert_neq(regs.ebx, 0);
}
