/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests see of processors that are sold: what CPUID says on each is in hosts/, and KVM is
 * taken to support all of it.
 */
#include "cpuid.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/bytes.h"

#define HOSTS "tests/unit/x86_64/hosts"

enum reg {
	EAX,
	EBX,
	ECX,
	EDX
};

static struct cpuid_table recorded; /* what the host says of itself */

static struct kvm_cpuid_entry2 *find(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < table->count; i++) {
		if (table->entry[i].function == leaf && table->entry[i].index == subleaf) {
			return &table->entry[i];
		}
	}
	return NULL;
}

static uint32_t bits(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf, enum reg which)
{
	const struct kvm_cpuid_entry2 *entry = find(table, leaf, subleaf);

	if (entry == NULL) {
		return 0;
	}
	const uint32_t regs[] = {entry->eax, entry->ebx, entry->ecx, entry->edx};

	return regs[which];
}

static struct cpuid_regs host(uint32_t leaf, uint32_t subleaf)
{
	const struct kvm_cpuid_entry2 *entry = find(&recorded, leaf, subleaf);

	return entry == NULL ? (struct cpuid_regs){0}
			     : (struct cpuid_regs){entry->eax, entry->ebx, entry->ecx, entry->edx};
}

static void set_all(struct kvm_cpuid_entry2 *entry)
{
	entry->eax = entry->ebx = entry->ecx = entry->edx = UINT32_MAX;
}

static void add(struct cpuid_table *table, const struct kvm_cpuid_entry2 *entry)
{
	cr_assert_lt(table->count, CPUID_ENTRIES_MAX);
	table->entry[table->count++] = *entry;
}

static void read_host(const char *name)
{
	char path[256];
	char line[256];

	(void)!snprintf(path, sizeof(path), HOSTS "/%s", name);
	FILE *file = fopen(path, "re");

	cr_assert_neq(file, NULL, "%s", path);
	recorded = (struct cpuid_table){.count = 0};
	while (fgets(line, sizeof(line), file) != NULL) {
		struct kvm_cpuid_entry2 entry = {.function = 0};

		if (line[0] == '#') {
			continue;
		}
		cr_assert_eq(sscanf(line, "%x %x %x %x %x %x", &entry.function, &entry.index,
				    &entry.eax, &entry.ebx, &entry.ecx, &entry.edx),
			     6, "%s: %s", path, line);
		add(&recorded, &entry);
	}
	fclose(file);
}

/* What guests of `vcpu_count` see of the host that was read. */
static struct cpuid_table guest_of(unsigned vcpu_count, bool smt)
{
	const struct arch_machine machine = {.vcpu_count = vcpu_count, .smt = smt};
	struct cpuid_table table = recorded;
	struct error err = {0};

	cr_assert_eq(cpuid_normalise(&table, &machine, host, &err), 0, "%s", err.msg);
	return table;
}

static void for_each_host(void (*check)(const char *name))
{
	DIR *dir = opendir(HOSTS);
	const struct dirent *entry;
	unsigned count = 0;

	cr_assert_neq(dir, NULL, "The units run in the top directory");
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.') {
			read_host(entry->d_name);
			check(entry->d_name);
			count++;
		}
	}
	closedir(dir);
	cr_assert_geq(count, 10);
}

/* What no guest gets, however much of it the host has. */
static const struct {
	uint32_t leaf;
	enum reg reg;
	uint32_t mask;
	const char *what;
} denied[] = {
	{0x1, ECX, 1u << 3, "MONITOR"},
	{0x1, ECX, 1u << 5, "VMX"},
	{0x1, ECX, 1u << 6, "SMX"},
	{0x1, ECX, 1u << 15, "PDCM"},
	{0x1, EDX, 1u << 21 | 1u << 22 | 1u << 29, "DS, ACPI, TM"},
	{0x6, EAX, ~UINT32_C(4), "thermal and power state"},
	{0x6, ECX, UINT32_MAX, "APERF, MPERF and energy bias"},
	{0x7, EBX, 1u << 2, "SGX"},
	{0x7, EBX, 1u << 12 | 1u << 15 | 1u << 25, "PQM, PQE, PT"},
	{0x7, ECX, 1u << 23 | 1u << 29 | 1u << 30, "key locker, ENQCMD, SGX-LC"},
	{0x7, EDX, 1u << 5 | 1u << 15 | 1u << 18, "UINTR, hybrid, PCONFIG"},
	{0x7, EDX, 1u << 19, "LBR"},
	{0x80000001, ECX, 1u << 2, "SVM"},
	{0x80000001, ECX, 1u << 10 | 1u << 12, "IBS, SKINIT"},
	{0x80000001, ECX, 1u << 23 | 1u << 24 | 1u << 28, "performance counters"},
	{0x80000001, ECX, 1u << 26 | 1u << 29, "data breakpoints, MWAITX"},
};

static const uint32_t absent[] = {
	0x3,	    0x5,	0x8,	    0xf,	0x10,	    0x12,
	0x14,	    0x17,	0x19,	    0x1b,	0x1c,	    0x20,
	0x23,	    0x80000009, 0x8000000a, 0x8000001b, 0x8000001c, 0x8000001f,
	0x80000020, 0x80000022, 0x80000026, 0x40000100, 0xc0000001,
};

static void has_nothing_denied(const char *name)
{
	struct cpuid_table guest = guest_of(2, false);

	for (size_t i = 0; i < ARRAY_COUNT(denied); i++) {
		cr_expect_eq(bits(&guest, denied[i].leaf, 0, denied[i].reg) & denied[i].mask, 0,
			     "%s: %s", name, denied[i].what);
	}
	for (size_t i = 0; i < ARRAY_COUNT(absent); i++) {
		cr_expect_eq(find(&guest, absent[i], 0), NULL, "%s: leaf 0x%x", name, absent[i]);
	}
	cr_expect_eq(bits(&guest, 0x7, 1, EAX) & 1u << 17, 0, "%s: FRED", name);
	cr_expect_eq(bits(&guest, 0x7, 3, EAX), 0, "%s: what nobody knows yet", name);
}

Test(cpuid_hosts, what_a_guest_may_not_have_is_not_there)
{
	for_each_host(has_nothing_denied);
}

/* A host with all that there is, and more. */
Test(cpuid_hosts, what_a_guest_may_not_have_is_not_there_where_a_host_has_it_all)
{
	read_host("epyc-genoa");
	for (size_t i = 0; i < ARRAY_COUNT(absent); i++) {
		add(&recorded, &(struct kvm_cpuid_entry2){.function = absent[i]});
	}
	add(&recorded, &(struct kvm_cpuid_entry2){.function = 0x7, .index = 3});
	for (uint32_t i = 0; i < recorded.count; i++) {
		if (recorded.entry[i].function != 0) {
			set_all(&recorded.entry[i]);
		}
	}
	has_nothing_denied("all");
}

/* What programs and kernels ask for: a host that has it shows it to guests. */
static const struct {
	uint32_t leaf;
	uint32_t subleaf;
	enum reg reg;
	uint32_t mask;
	const char *what;
} kept[] = {
	{0x1, 0, ECX, 0x76f83203, "SSE3 to RDRAND, with AVX, AES, XSAVE and the TSC's deadline"},
	{0x1, 0, EDX, 0x078bfbff, "the FPU to SSE2"},
	{0x7, 0, EBX, 0xf0bd07b9, "AVX2, BMI, ERMS, SMEP, SMAP, SHA, AVX-512, CLWB"},
	{0x7, 0, ECX, 0x00415f5e, "VBMI, UMIP, PKU, GFNI, VAES, VPCLMULQDQ, VNNI, LA57, RDPID"},
	{0x7, 0, EDX, 0xbfc04410, "FSRM, SERIALIZE, AMX, AVX512-FP16, controls of speculation"},
	{0x7, 1, EAX, 0x00000c30, "AVX-VNNI, AVX512-BF16, fast strings"},
	{0xd, 1, EAX, 0x0000000f, "XSAVEOPT, XSAVEC, XGETBV, XSAVES"},
	{0x80000001, 0, ECX, 0x00400121, "LAHF, LZCNT, prefetches, TOPOEXT"},
	{0x80000001, 0, EDX, 0x2c100800, "SYSCALL, NX, pages of 1 GiB, RDTSCP, long mode"},
	{0x80000007, 0, EDX, 0x00000100, "a TSC that never stops"},
	{0x80000008, 0, EBX, 0x00000205, "CLZERO, XSAVEERPTR, WBNOINVD"},
};

/* Of some registers a guest sees its own: those are not among them. */
static void keeps_features(const char *name)
{
	struct cpuid_table guest = guest_of(4, true);

	for (size_t i = 0; i < ARRAY_COUNT(kept); i++) {
		uint32_t had = bits(&recorded, kept[i].leaf, kept[i].subleaf, kept[i].reg);
		uint32_t has = bits(&guest, kept[i].leaf, kept[i].subleaf, kept[i].reg);

		cr_expect_eq(had & kept[i].mask & ~has, 0, "%s: of %s lacks 0x%x", name,
			     kept[i].what, had & kept[i].mask & ~has);
	}
	/* State that XSAVE saves stays as the processor lays it out. */
	for (uint32_t i = 0; i < recorded.count; i++) {
		const struct kvm_cpuid_entry2 *had = &recorded.entry[i];

		if (had->function == 0xd) {
			const struct kvm_cpuid_entry2 *has = find(&guest, 0xd, had->index);

			cr_assert_neq(has, NULL, "%s: 0xd.%u", name, had->index);
			cr_expect_eq(memcmp(&has->eax, &had->eax, sizeof(struct cpuid_regs)), 0,
				     "%s: 0xd.%u", name, had->index);
		}
	}
}

Test(cpuid_hosts, what_programs_ask_for_is_kept)
{
	for_each_host(keeps_features);
}

/* Caches of the host by kind and size, shared by the guest's threads. */
static void check_caches(const char *name, struct cpuid_table *guest, uint32_t leaf,
			 unsigned vcpu_count, unsigned threads)
{
	for (uint32_t i = 0; (bits(&recorded, leaf, i, EAX) & 0x1f) != 0; i++) {
		const uint32_t eax = bits(guest, leaf, i, EAX);
		const unsigned level = eax >> 5 & 7;
		const unsigned sharing = (eax >> 14 & 0xfff) + 1;

		cr_expect_eq(eax & 0x3ff, bits(&recorded, leaf, i, EAX) & 0x3ff, "%s", name);
		cr_expect_eq(bits(guest, leaf, i, EBX), bits(&recorded, leaf, i, EBX), "%s", name);
		cr_expect_eq(bits(guest, leaf, i, ECX), bits(&recorded, leaf, i, ECX), "%s", name);
		cr_expect_eq(sharing, level < 3 ? threads : vcpu_count, "%s: cache %u of %u vCPUs",
			     name, i, vcpu_count);
	}
}

static void has_its_own_topology(const char *name)
{
	static const struct {
		unsigned vcpu_count;
		bool smt;
	} machines[] = {{1, false}, {2, true}, {3, false}, {8, true}, {32, false}, {32, true}};

	for (size_t i = 0; i < ARRAY_COUNT(machines); i++) {
		const unsigned count = machines[i].vcpu_count;
		const unsigned threads = machines[i].smt ? 2 : 1;
		struct cpuid_table guest = guest_of(count, machines[i].smt);
		const bool is_amd = bits(&recorded, 0, 0, EBX) == 0x68747541;
		static const uint32_t leaves[] = {0xb, 0x1f};

		for (size_t l = 0; l < ARRAY_COUNT(leaves); l++) {
			if (find(&guest, leaves[l], 0) != NULL) {
				cr_expect_eq(bits(&guest, leaves[l], 0, EBX), threads, "%s", name);
				cr_expect_eq(bits(&guest, leaves[l], 1, EBX), count, "%s", name);
				cr_expect_eq(bits(&guest, leaves[l], 2, ECX) >> 8, 0, "%s: 0x%x",
					     name, leaves[l]);
			}
		}
		if (is_amd) {
			cr_expect_eq(bits(&guest, 0x8000001e, 0, EBX) >> 8 & 0xff, threads - 1,
				     "%s", name);
			cr_expect_eq(bits(&guest, 0x80000008, 0, ECX) & 0xff, count - 1, "%s",
				     name);
		}
		check_caches(name, &guest, is_amd ? 0x8000001d : 0x4, count, threads);
	}
}

Test(cpuid_hosts, topology_is_the_guests_and_caches_are_the_hosts)
{
	for_each_host(has_its_own_topology);
}
