/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest's CPUID instruction says.
 *
 * Theory of operation: KVM_GET_SUPPORTED_CPUID describes a processor with everything that KVM and
 * the host's hardware can do, but with the host's topology or none. Four passes make a machine of
 * it: what a guest may have (cpuid_allow.c); fixed bits from a table of {leaf, subleaf, register,
 * mask, value}; whole leaves that only the host knows (caches and TLBs, which old KVMs leave out);
 * and the topology, which is one package whose cores are pairs of threads where `smt` is set. The
 * values are those that guests see under Firecracker, since migrated images and feature probes
 * depend on them [compat]. Leaves and fields are described in [intel-sdm vol. 2, CPUID] and
 * [amd-apm vol. 3, appendix E].
 */
#include "cpuid.h"

#include <stdio.h>
#include <string.h>

#include "template.h"
#include "vmm/base/bytes.h"

enum {
	LEAF_VENDOR = 0x0,
	LEAF_FEATURES = 0x1,
	LEAF_INTEL_CACHES = 0x4,
	LEAF_EXTENDED_FEATURES = 0x7,
	LEAF_TOPOLOGY = 0xb,
	LEAF_TOPOLOGY_V2 = 0x1f,
};

#define LEAF_EXT_FEATURES UINT32_C(0x80000001)
#define LEAF_BRAND UINT32_C(0x80000002)
#define LEAF_BRAND_LAST UINT32_C(0x80000004)
#define LEAF_L1 UINT32_C(0x80000005)
#define LEAF_L2 UINT32_C(0x80000006)
#define LEAF_SIZES UINT32_C(0x80000008)
#define LEAF_AMD_CACHES UINT32_C(0x8000001d)
#define LEAF_AMD_TOPOLOGY UINT32_C(0x8000001e)

/* In ECX of LEAF_EXT_FEATURES: leaves 0x8000001d and 0x8000001e are there. */
#define TOPOEXT (UINT32_C(1) << 22)

enum {
	BRAND_LEN = 48,
	/* Bits of the APIC id below the package number: enough for ARCH_VCPUS_MAX. */
	APIC_ID_BITS = 5,
	/* A processor has fewer levels of cache; bounds the walk if it never says "no more". */
	AMD_CACHES_MAX = 8,
};

_Static_assert(ARCH_VCPUS_MAX <= 1 << APIC_ID_BITS, "all vCPUs are in one package");

enum vendor {
	VENDOR_ANY = 0,
	VENDOR_INTEL = 1,
	VENDOR_AMD = 2,
};

enum reg {
	EAX,
	EBX,
	ECX,
	EDX
};

#define BIT(n) (UINT32_C(1) << (n))

/* The mask bits of the register become those of the value; leaves that KVM lacks stay away. */
static const struct fixed_bits {
	enum vendor vendor;
	uint32_t leaf;
	uint32_t subleaf;
	enum reg reg;
	uint32_t mask;
	uint32_t value;
} fixed_bits[] = {
	/* CLFLUSH works on 8 units of 8 bytes */
	{VENDOR_ANY, LEAF_FEATURES, 0, EBX, 0xff00, 8 << 8},
	/* TSC deadline: KVM's LAPIC has it; running under KVM */
	{VENDOR_ANY, LEAF_FEATURES, 0, ECX, BIT(24) | BIT(31), BIT(24) | BIT(31)},
	/* FDP_EXCPTN_ONLY and the deprecated FPU CS/DS: facts of the host that KVM doesn't tell */
	{VENDOR_INTEL, LEAF_EXTENDED_FEATURES, 0, EBX, BIT(6) | BIT(13), BIT(6) | BIT(13)},
	/* IA32_ARCH_CAPABILITIES is Intel's; KVM offers its emulation on AMD too */
	{VENDOR_AMD, LEAF_EXTENDED_FEATURES, 0, EDX, BIT(29), 0},
	{VENDOR_AMD, LEAF_EXT_FEATURES, 0, ECX, TOPOEXT, TOPOEXT},
};

struct cpuid_regs cpuid_read_host(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs regs;

	__asm__ volatile("cpuid"
			 : "=a"(regs.eax), "=b"(regs.ebx), "=c"(regs.ecx), "=d"(regs.edx)
			 : "a"(leaf), "c"(subleaf));
	return regs;
}

static struct kvm_cpuid_entry2 *find(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < table->count; i++) {
		if (table->entry[i].function == leaf && table->entry[i].index == subleaf) {
			return &table->entry[i];
		}
	}
	return NULL;
}

static void remove_leaf(struct cpuid_table *table, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->count; i++) {
		if (table->entry[i].function != leaf) {
			table->entry[kept] = table->entry[i];
			kept++;
		}
	}
	table->count = kept;
}

static int append(struct cpuid_table *table, const struct kvm_cpuid_entry2 *entry,
		  struct error *err)
{
	if (table->count >= CPUID_ENTRIES_MAX) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The host's KVM describes its processor in so many CPUID entries "
				 "that leaf 0x%x can't be added to them: the limit is %d",
				 entry->function, CPUID_ENTRIES_MAX);
	}
	table->entry[table->count] = *entry;
	table->count++;
	return 0;
}

/* Adds a leaf, or replaces the one that KVM has. */
static int put(struct cpuid_table *table, const struct kvm_cpuid_entry2 *entry, struct error *err)
{
	struct kvm_cpuid_entry2 *old = find(table, entry->function, entry->index);

	if (old != NULL) {
		*old = *entry;
		return 0;
	}
	return append(table, entry, err);
}

static void set_bits(uint32_t *reg, uint32_t mask, uint32_t value)
{
	*reg = (*reg & ~mask) | (value & mask);
}

static uint32_t *entry_reg(struct kvm_cpuid_entry2 *entry, enum reg reg)
{
	switch (reg) {
	case EAX:
		return &entry->eax;
	case EBX:
		return &entry->ebx;
	case ECX:
		return &entry->ecx;
	case EDX:
		return &entry->edx;
	}
	__builtin_unreachable();
}

static void apply_fixed_bits(struct cpuid_table *table, enum vendor vendor)
{
	for (size_t i = 0; i < ARRAY_COUNT(fixed_bits); i++) {
		const struct fixed_bits *fix = &fixed_bits[i];
		struct kvm_cpuid_entry2 *entry = find(table, fix->leaf, fix->subleaf);

		if (entry != NULL && (fix->vendor == VENDOR_ANY || fix->vendor == vendor)) {
			set_bits(entry_reg(entry, fix->reg), fix->mask, fix->value);
		}
	}
}

static unsigned threads_per_core(const struct arch_machine *machine)
{
	return machine->smt && machine->vcpu_count > 1 ? 2 : 1;
}

/* Leaf 1 counts APIC ids in powers of two, as their bits are what software takes apart. */
static uint32_t apic_id_space(unsigned vcpu_count)
{
	uint32_t space = 1;

	while (space < vcpu_count) {
		space *= 2;
	}
	return space;
}

/* KVM's own topology leaves are empty or the host's: ours replace them. */
static int put_topology(struct cpuid_table *table, uint32_t leaf,
			const struct arch_machine *machine, struct error *err)
{
	const struct kvm_cpuid_entry2 threads = {
		.function = leaf,
		.index = 0,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = threads_per_core(machine) - 1, /* bits of the APIC id: 1 for 2 threads */
		.ebx = threads_per_core(machine),
		.ecx = 1 << 8 | 0, /* level type: threads of a core */
	};
	const struct kvm_cpuid_entry2 cores = {
		.function = leaf,
		.index = 1,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = APIC_ID_BITS,
		.ebx = machine->vcpu_count,
		.ecx = 2 << 8 | 1, /* level type: cores of the package */
	};

	remove_leaf(table, leaf);
	if (append(table, &threads, err) != 0) {
		return -1;
	}
	return append(table, &cores, err);
}

static int put_host_leaf(struct cpuid_table *table, uint32_t leaf, uint32_t reserved_edx,
			 cpuid_read_fn read_host, struct error *err)
{
	const struct cpuid_regs host = read_host(leaf, 0);
	const struct kvm_cpuid_entry2 entry = {
		.function = leaf,
		.eax = host.eax,
		.ebx = host.ebx,
		.ecx = host.ecx,
		.edx = host.edx & ~reserved_edx,
	};

	return put(table, &entry, err);
}

static int normalise_common(struct cpuid_table *table, const struct arch_machine *machine,
			    cpuid_read_fn read_host, struct error *err)
{
	struct kvm_cpuid_entry2 *features = find(table, LEAF_FEATURES, 0);

	if (features != NULL) {
		set_bits(&features->ebx, 0xff0000, apic_id_space(machine->vcpu_count) << 16);
		/* HTT: the count above is valid */
		set_bits(&features->edx, BIT(28), machine->vcpu_count > 1 ? BIT(28) : 0);
	}
	if (put_topology(table, LEAF_TOPOLOGY, machine, err) != 0) {
		return -1;
	}
	if (put_host_leaf(table, LEAF_L1, 0, read_host, err) != 0) {
		return -1;
	}
	return put_host_leaf(table, LEAF_L2, BIT(16) | BIT(17), read_host, err);
}

/* How many threads share a cache of level 1, 2 or 3: a core's own, or all of the package. */
static uint32_t cache_sharing(const struct arch_machine *machine, uint32_t eax)
{
	const uint32_t level = eax >> 5 & 7;

	return level < 3 ? threads_per_core(machine) : machine->vcpu_count;
}

static void put_brand(struct cpuid_table *table, const char brand[BRAND_LEN])
{
	const char *part = brand;

	for (uint32_t leaf = LEAF_BRAND; leaf <= LEAF_BRAND_LAST; leaf++) {
		struct kvm_cpuid_entry2 *entry = find(table, leaf, 0);

		if (entry != NULL) {
			entry->eax = load_le32(part);
			entry->ebx = load_le32(part + 4);
			entry->ecx = load_le32(part + 8);
			entry->edx = load_le32(part + 12);
		}
		part += sizeof(struct cpuid_regs);
	}
}

/* Hides the host's model, but keeps its frequency, by which some guests calibrate. */
static void set_intel_brand(struct cpuid_table *table, cpuid_read_fn read_host)
{
	char host[BRAND_LEN + 1] = {0};
	char *part = host;
	char brand[BRAND_LEN] = {0}; /* its NUL is part of the 48 bytes */

	for (uint32_t leaf = LEAF_BRAND; leaf <= LEAF_BRAND_LAST; leaf++) {
		const struct cpuid_regs regs = read_host(leaf, 0);

		memcpy(part, &regs, sizeof(regs));
		part += sizeof(regs);
	}

	const char *frequency = strstr(host, " @ ");

	if (frequency == NULL || strstr(frequency, "Hz") == NULL) {
		frequency = "";
	}
	(void)snprintf(brand, sizeof(brand), "Intel(R) Xeon(R) Processor%s", frequency);
	put_brand(table, brand);
}

static int normalise_intel(struct cpuid_table *table, const struct arch_machine *machine,
			   cpuid_read_fn read_host, struct error *err)
{
	const uint32_t cores = machine->vcpu_count / threads_per_core(machine);

	for (uint32_t i = 0; i < table->count; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entry[i];

		if (entry->function == LEAF_INTEL_CACHES && (entry->eax & 0x1f) != 0) {
			const uint32_t sharing = cache_sharing(machine, entry->eax);

			set_bits(&entry->eax, 0x03ffc000, (sharing - 1) << 14);
			set_bits(&entry->eax, 0xfc000000, (cores - 1) << 26);
		}
	}
	set_intel_brand(table, read_host);
	if (find(table, LEAF_TOPOLOGY_V2, 0) != NULL) {
		return put_topology(table, LEAF_TOPOLOGY_V2, machine, err);
	}
	return 0;
}

static int put_amd_caches(struct cpuid_table *table, const struct arch_machine *machine,
			  cpuid_read_fn read_host, struct error *err)
{
	remove_leaf(table, LEAF_AMD_CACHES);
	/*
	 * A processor without this leaf answers with that of another one. Then the guest sees no
	 * caches.
	 */
	if ((read_host(LEAF_EXT_FEATURES, 0).ecx & TOPOEXT) == 0) {
		return 0;
	}
	for (uint32_t i = 0; i < AMD_CACHES_MAX; i++) {
		const struct cpuid_regs host = read_host(LEAF_AMD_CACHES, i);
		struct kvm_cpuid_entry2 entry = {
			.function = LEAF_AMD_CACHES,
			.index = i,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = host.eax,
			.ebx = host.ebx,
			.ecx = host.ecx,
			.edx = host.edx,
		};

		if ((host.eax & 0x1f) == 0) {
			break;
		}
		set_bits(&entry.eax, 0x03ffc000, (cache_sharing(machine, host.eax) - 1) << 14);
		if (append(table, &entry, err) != 0) {
			return -1;
		}
	}
	return 0;
}

static int normalise_amd(struct cpuid_table *table, const struct arch_machine *machine,
			 cpuid_read_fn read_host, struct error *err)
{
	static const char brand[BRAND_LEN] = "AMD EPYC";
	struct kvm_cpuid_entry2 *sizes = find(table, LEAF_SIZES, 0);
	const struct kvm_cpuid_entry2 topology = {
		.function = LEAF_AMD_TOPOLOGY,
		.ebx = (threads_per_core(machine) - 1) << 8,
	};

	if (sizes != NULL) {
		/* threads of the package, and bits of the APIC id that number them */
		set_bits(&sizes->ecx, 0xff, machine->vcpu_count - 1);
		set_bits(&sizes->ecx, 0xf000, APIC_ID_BITS << 12);
	}
	put_brand(table, brand);
	if (put(table, &topology, err) != 0) {
		return -1;
	}
	return put_amd_caches(table, machine, read_host, err);
}

static enum vendor table_vendor(struct cpuid_table *table)
{
	const struct kvm_cpuid_entry2 *entry = find(table, LEAF_VENDOR, 0);
	char name[12] = {0};

	if (entry != NULL) {
		store_le32(name, entry->ebx);
		store_le32(name + 4, entry->edx);
		store_le32(name + 8, entry->ecx);
	}
	if (memcmp(name, "GenuineIntel", sizeof(name)) == 0) {
		return VENDOR_INTEL;
	}
	return memcmp(name, "AuthenticAMD", sizeof(name)) == 0 ? VENDOR_AMD : VENDOR_ANY;
}

static int normalise_vendor(struct cpuid_table *table, const struct arch_machine *machine,
			    enum vendor vendor, cpuid_read_fn read_host, struct error *err)
{
	switch (vendor) {
	case VENDOR_INTEL:
		return normalise_intel(table, machine, read_host, err);
	case VENDOR_AMD:
		return normalise_amd(table, machine, read_host, err);
	case VENDOR_ANY:
		break; /* no changes for one vendor alone */
	}
	return 0;
}

int cpuid_normalise(struct cpuid_table *table, const struct arch_machine *machine,
		    cpuid_read_fn read_host, struct error *err)
{
	const enum vendor vendor = table_vendor(table);
	const struct cpu_template *cpu_template = machine->cpu_template;

	if (cpu_template != NULL && template_check_leaves(cpu_template, table, err) != 0) {
		return -1;
	}
	cpuid_allow(table);
	const struct last_leaves before = template_last_leaves(table);

	if (cpu_template != NULL && template_apply_leaves(cpu_template, table, err) != 0) {
		return -1;
	}
	apply_fixed_bits(table, vendor);
	if (normalise_common(table, machine, read_host, err) != 0 ||
	    normalise_vendor(table, machine, vendor, read_host, err) != 0) {
		return -1;
	}
	if (cpu_template != NULL) {
		template_cut_leaves(table, &before);
	}
	return 0;
}

void cpuid_set_vcpu(struct cpuid_table *table, bool smt, unsigned index)
{
	for (uint32_t i = 0; i < table->count; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entry[i];

		switch (entry->function) {
		case LEAF_FEATURES:
			set_bits(&entry->ebx, 0xff000000, index << 24);
			break;
		case LEAF_TOPOLOGY:
		case LEAF_TOPOLOGY_V2:
			entry->edx = index;
			break;
		case LEAF_AMD_TOPOLOGY:
			entry->eax = index;
			set_bits(&entry->ebx, 0xff, smt ? index / 2 : index);
			break;
		default:
			break;
		}
	}
}
