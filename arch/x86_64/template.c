/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU templates of x86_64.
 *
 * Theory of operation. A template names bits of CPUID leaves and of model-specific registers, and
 * what they are to be. The leaves are changed between the list of what guests may have
 * (cpuid_allow.c) and the passes that make a machine of it (cpuid.c): so a template may give a
 * guest what that list leaves out, and topology stays the machine's. The registers are changed
 * vCPU by vCPU, before those that a boot needs.
 *
 * The static templates are Firecracker's to the bit, as are the processors that they are for
 * [compat].
 */
#include "template.h"

#include "arch/field.h"
#include "arch/template.h"

#include <string.h>

#include "kvm_x86.h"
#include "msr.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

enum reg {
	EAX,
	EBX,
	ECX,
	EDX
};

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX
#define IA32_ARCH_CAPABILITIES 0x10a

/* Leaves: the features that have subleaves, KVM's own, and where the extended ones begin. */
#define FEATURES UINT32_C(0x7)
#define HYPERVISOR UINT32_C(0x40000000)
#define EXTENDED UINT32_C(0x80000000)

/* --- The static ones --- */

/* What T2, T2S, T2CL and T2A have in common. */
/* clang-format off */
#define T2_LEAVES \
	{.leaf = 0x1, .regs = {[EAX] = {0x0fff3fff, 0x000306f2}, \
			       [ECX] = {0x0004cdfc, 0}, \
			       [EDX] = {0xe8641080, 0x00001080}}}, \
	{.leaf = 0x7, .flags = INDEXED, .regs = {[EBX] = {0xffefda14, 0x00000200}, \
						 [ECX] = {0x40415f5e, 0}, \
						 [EDX] = {0x0000011c, 0}}}, \
	{.leaf = 0xd, .flags = INDEXED, .regs = {[EAX] = {0x000002f8, 0}}}, \
	{.leaf = 0xd, .subleaf = 1, .flags = INDEXED, .regs = {[EAX] = {0x0000000e, 0}}}
/* clang-format on */

static const struct cpu_template_leaf t2_leaves[] = {
	T2_LEAVES,
	{.leaf = 0x80000001, .regs = {[ECX] = {0x20000100, 0}, [EDX] = {0x04000000, 0}}},
	{.leaf = 0x80000008, .regs = {[EBX] = {0x00000200, 0}}},
};

static const struct cpu_template_leaf t2cl_leaves[] = {
	T2_LEAVES,
	{.leaf = 0x80000001, .regs = {[ECX] = {0x200001c0, 0}, [EDX] = {0x07c00000, 0}}},
	{.leaf = 0x80000008, .regs = {[EBX] = {0x00000200, 0}}},
};

static const struct cpu_template_leaf t2a_leaves[] = {
	T2_LEAVES,
	{.leaf = 0x80000001, .regs = {[ECX] = {0x200001c4, 0}, [EDX] = {0x06400000, 0}}},
	{.leaf = 0x80000008, .regs = {[EBX] = {0x001c0205, 0x001c0004}}},
};

static const struct cpu_template_leaf c3_leaves[] = {
	{.leaf = 0x1,
	 .regs = {[EAX] = {0x0fff3fff, 0x000306e4},
		  [ECX] = {0x0040dd3c, 0},
		  [EDX] = {0xa8641080, 0x00001080}}},
	{.leaf = 0x7,
	 .flags = INDEXED,
	 .regs = {[EBX] = {0xffafdd3c, 0}, [ECX] = {0x4041481e, 0}, [EDX] = {0x0000000c, 0}}},
	{.leaf = 0xd, .flags = INDEXED, .regs = {[EAX] = {0x000002f8, 0}}},
	{.leaf = 0xd, .subleaf = 1, .flags = INDEXED, .regs = {[EAX] = {0x0000000e, 0}}},
	{.leaf = 0x80000001, .regs = {[ECX] = {0x00000120, 0}, [EDX] = {0x04000000, 0}}},
};

static const struct cpu_template_register t2s_msrs[] = {
	{IA32_ARCH_CAPABILITIES, {{UINT64_MAX}, {0x0c0a0c4c}}},
};

static const struct cpu_template_register t2cl_msrs[] = {
	{IA32_ARCH_CAPABILITIES, {{0xffffffffe2f51e00}, {0}}},
};

/* Leaf 1's EAX without its reserved bits and type. */
enum model {
	SKYLAKE = 0x50654,
	CASCADE_LAKE = 0x50657,
	ICE_LAKE = 0x606a6,
	MILAN = 0xa00f11,
	MODEL_MASK = 0x0fff0fff,
};

enum {
	MODELS_MAX = 3
};

static const struct static_template {
	const char *name;
	const char *vendor;
	enum model models[MODELS_MAX]; /* 0: no more */
	struct cpu_template bits;
} static_templates[] = {
	{"C3",
	 "GenuineIntel",
	 {SKYLAKE, CASCADE_LAKE, ICE_LAKE},
	 {.leaves = c3_leaves, .leaf_count = ARRAY_COUNT(c3_leaves)}},
	{"T2",
	 "GenuineIntel",
	 {SKYLAKE, CASCADE_LAKE, ICE_LAKE},
	 {.leaves = t2_leaves, .leaf_count = ARRAY_COUNT(t2_leaves)}},
	{"T2S",
	 "GenuineIntel",
	 {SKYLAKE, CASCADE_LAKE},
	 {.leaves = t2_leaves,
	  .leaf_count = ARRAY_COUNT(t2_leaves),
	  .registers = t2s_msrs,
	  .register_count = ARRAY_COUNT(t2s_msrs)}},
	{"T2CL",
	 "GenuineIntel",
	 {CASCADE_LAKE, ICE_LAKE},
	 {.leaves = t2cl_leaves,
	  .leaf_count = ARRAY_COUNT(t2cl_leaves),
	  .registers = t2cl_msrs,
	  .register_count = ARRAY_COUNT(t2cl_msrs)}},
	{"T2A",
	 "AuthenticAMD",
	 {MILAN},
	 {.leaves = t2a_leaves, .leaf_count = ARRAY_COUNT(t2a_leaves)}},
};

static const struct static_template *by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_COUNT(static_templates); i++) {
		if (strcmp(static_templates[i].name, name) == 0) {
			return &static_templates[i];
		}
	}
	return NULL;
}

static bool is_for(const struct static_template *found, uint32_t model)
{
	for (size_t i = 0; i < MODELS_MAX; i++) {
		if (found->models[i] == model) {
			return true;
		}
	}
	return false;
}

int template_find(const char *name, cpuid_read_fn read_host,
		  const struct cpu_template **cpu_template, struct error *err)
{
	const struct static_template *found = by_name(name);
	const struct cpuid_regs host = read_host(0, 0);
	const uint32_t model = read_host(1, 0).eax & MODEL_MASK;
	char vendor[12];

	store_le32(vendor, host.ebx);
	store_le32(vendor + 4, host.edx);
	store_le32(vendor + 8, host.ecx);
	if (found == NULL) {
		return error_set(err, ERR_NOT_SUPPORTED, "There is no CPU template `%s`", name);
	}
	if (memcmp(vendor, found->vendor, sizeof(vendor)) != 0) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "CPU vendor mismatched between actual CPU and CPU template.");
	}
	if (!is_for(found, model)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The current CPU model is not permitted to apply the CPU "
				 "template.");
	}
	if (model == SKYLAKE && strcmp(name, "C3") == 0) {
		log_warn("On processors that do not enumerate FBSDP_NO, PSDP_NO and SBDR_SSDP_NO "
			 "on IA32_ARCH_CAPABILITIES MSR, the guest kernel does not apply the "
			 "mitigation against MMIO stale data vulnerability.");
	}
	*cpu_template = &found->bits;
	return 0;
}

int arch_find_template(const char *name, const struct cpu_template **cpu_template,
		       struct error *err)
{
	return template_find(name, cpuid_read_host, cpu_template, err);
}

/* --- What they do --- */

static struct kvm_cpuid_entry2 *find(const struct cpuid_table *table,
				     const struct cpu_template_leaf *leaf)
{
	for (uint32_t i = 0; i < table->count; i++) {
		const struct kvm_cpuid_entry2 *entry = &table->entry[i];

		if (entry->function == leaf->leaf && entry->index == leaf->subleaf) {
			return (struct kvm_cpuid_entry2 *)entry;
		}
	}
	return NULL;
}

enum {
	NAMES_LEN = 256 /* of what a message names */
};

/* Appends the features that the template wants of a leaf: ": AVX-VNNI (CPUID 0x7.1 EAX bit 4)". */
static void add_wanted(struct text *text, const struct cpu_template_leaf *leaf)
{
	const char *separator = ": ";

	for (unsigned i = 0; i < ARRAY_COUNT(leaf->regs); i++) {
		const struct arch_register reg = {true, i, leaf->leaf, leaf->subleaf, 0};
		struct arch_field field;

		for (unsigned bit = 0; bit < 32; bit = field.shift + field.width) {
			field = arch_field_at(&reg, bit);
			if ((leaf->regs[i].value >> bit & 1) != 0 && field.width == 1) {
				text_add(text, "%s", separator);
				arch_field_add_name(text, &reg, &field);
				separator = ", ";
			}
		}
	}
}

/* All that the template names of the leaf is the machine's: topology, caches, the brand. */
static bool is_machines(const struct cpu_template_leaf *leaf)
{
	bool names_any = false;

	for (unsigned i = 0; i < ARRAY_COUNT(leaf->regs); i++) {
		const struct arch_register reg = {true, i, leaf->leaf, leaf->subleaf, 0};

		for (unsigned bit = 0; bit < 32; bit++) {
			if ((leaf->regs[i].mask >> bit & 1) != 0 &&
			    arch_field_at(&reg, bit).rule != ARCH_RULE_MACHINE) {
				return false;
			}
		}
		names_any |= leaf->regs[i].mask != 0;
	}
	return names_any;
}

int template_check_leaves(const struct cpu_template *cpu_template,
			  const struct cpuid_table *supported, struct error *err)
{
	for (size_t i = 0; i < cpu_template->leaf_count; i++) {
		const struct cpu_template_leaf *leaf = &cpu_template->leaves[i];

		if (find(supported, leaf) == NULL && !is_machines(leaf)) {
			char names[NAMES_LEN];
			struct text text;

			text_init(&text, names, sizeof(names));
			add_wanted(&text, leaf);
			return error_set(err, ERR_NOT_SUPPORTED,
					 "Template changes a CPUID entry not supported by KVM: "
					 "Leaf: %x, Subleaf: %x%s",
					 leaf->leaf, leaf->subleaf, names);
		}
	}
	return 0;
}

static int change_leaf(struct cpuid_table *table, const struct cpu_template_leaf *leaf,
		       struct error *err)
{
	struct kvm_cpuid_entry2 *entry = find(table, leaf);

	if (entry == NULL && is_machines(leaf)) {
		return 0;
	}
	if (entry == NULL && table->count == CPUID_ENTRIES_MAX) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "There is no room for CPUID leaf 0x%x of the template: the limit "
				 "is %d entries",
				 leaf->leaf, CPUID_ENTRIES_MAX);
	}
	if (entry == NULL) {
		entry = &table->entry[table->count++];
		*entry = (struct kvm_cpuid_entry2){.function = leaf->leaf, .index = leaf->subleaf};
	}
	uint32_t *const regs[] = {&entry->eax, &entry->ebx, &entry->ecx, &entry->edx};

	entry->flags = leaf->flags;
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++) {
		*regs[i] = cpu_template_apply32(*regs[i], leaf->regs[i].mask, leaf->regs[i].value);
	}
	return 0;
}

int template_apply_leaves(const struct cpu_template *cpu_template, struct cpuid_table *table,
			  struct error *err)
{
	for (size_t i = 0; i < cpu_template->leaf_count; i++) {
		if (change_leaf(table, &cpu_template->leaves[i], err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* A leaf whose EAX is the last one of its kind; UINT32_MAX where it is not there. */
static uint32_t last_of(const struct cpuid_table *table, uint32_t leaf)
{
	const struct cpu_template_leaf key = {.leaf = leaf};
	const struct kvm_cpuid_entry2 *entry = find(table, &key);

	return entry != NULL ? entry->eax : UINT32_MAX;
}

struct last_leaves template_last_leaves(const struct cpuid_table *table)
{
	return (struct last_leaves){
		.basic = last_of(table, 0),
		.extended = last_of(table, EXTENDED),
		.of_features = last_of(table, FEATURES),
	};
}

static bool is_cut(uint32_t leaf, uint32_t last, uint32_t before)
{
	return last < before && leaf > last;
}

void template_cut_leaves(struct cpuid_table *table, const struct last_leaves *before)
{
	const struct last_leaves last = template_last_leaves(table);
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->count; i++) {
		const struct kvm_cpuid_entry2 *entry = &table->entry[i];
		const bool is_extended = (entry->function & EXTENDED) != 0;
		const bool is_basic = entry->function < HYPERVISOR;

		if ((is_basic && is_cut(entry->function, last.basic, before->basic)) ||
		    (is_extended && is_cut(entry->function, last.extended, before->extended)) ||
		    (entry->function == FEATURES &&
		     is_cut(entry->index, last.of_features, before->of_features))) {
			continue;
		}
		table->entry[kept++] = *entry;
	}
	table->count = kept;
}

static const char *name_of(uint32_t index, char *buf, size_t len)
{
	struct text text;

	text_init(&text, buf, len);
	msr_add_name(&text, index);
	return buf;
}

int template_set_msrs(const struct cpu_template *cpu_template, int vcpu, struct error *err)
{
	for (size_t i = 0; i < cpu_template->register_count; i++) {
		const struct cpu_template_register *change = &cpu_template->registers[i];
		struct kvm_msr_entry msr = {.index = (uint32_t)change->id};
		char name[NAMES_LEN];
		uint64_t value;
		size_t done = 0;

		if (kvm_get_msrs(vcpu, &msr, 1, &done, err) < 0) {
			return -1;
		}
		if (done == 0) {
			return error_set(err, ERR_NOT_SUPPORTED,
					 "Template changes an MSR entry not supported by KVM: "
					 "Register Address: %x: %s",
					 msr.index, name_of(msr.index, name, sizeof(name)));
		}
		value = msr.data;
		cpu_template_apply(&change->bits, &value, 1);
		msr.data = value;
		if (kvm_set_msrs(vcpu, &msr, 1, err) < 0) {
			return error_wrap(err, "KVM does not let the CPU template change %s",
					  name_of(msr.index, name, sizeof(name)));
		}
	}
	return 0;
}

bool template_has_nested(const struct cpuid_table *table)
{
	static const struct cpu_template_leaf places[] = {
		{.leaf = 0x1, .regs[ECX] = {1u << 5, 0}},	 /* VMX */
		{.leaf = 0x80000001, .regs[ECX] = {1u << 2, 0}}, /* SVM */
	};

	for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
		const struct kvm_cpuid_entry2 *entry = find(table, &places[i]);

		if (entry != NULL && (entry->ecx & places[i].regs[ECX].mask) != 0) {
			return true;
		}
	}
	return false;
}
