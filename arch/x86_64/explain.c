/* SPDX-License-Identifier: Apache-2.0 */
/* What this host lacks of what a saved guest was given. */
#include "explain.h"

#include <string.h>

#include "cpuid_features.h"
#include "kvm_x86.h"
#include "msr.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"

/* What was found to be lacking so far. */
struct list {
	struct text *text;
	unsigned count;
};

static void next(struct list *list)
{
	text_add(list->text, "%s", list->count > 0 ? ", " : "");
	list->count++;
}

static const struct kvm_cpuid_entry2 *find(const struct cpuid_table *table, uint32_t leaf,
					   uint32_t subleaf)
{
	static const struct kvm_cpuid_entry2 none;

	for (uint32_t i = 0; i < table->count; i++) {
		if (table->entry[i].function == leaf && table->entry[i].index == subleaf) {
			return &table->entry[i];
		}
	}
	return &none;
}

static uint32_t entry_reg(const struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg)
{
	switch (reg) {
	case CPUID_EAX:
		return entry->eax;
	case CPUID_EBX:
		return entry->ebx;
	case CPUID_ECX:
		return entry->ecx;
	case CPUID_EDX:
		return entry->edx;
	}
	__builtin_unreachable();
}

static struct cpuid_vendor vendor(const struct cpuid_table *table)
{
	const struct kvm_cpuid_entry2 *entry = find(table, 0, 0);

	return cpuid_vendor(entry->ebx, entry->edx, entry->ecx);
}

static void compare_vendor(struct list *list, const struct cpuid_table *guest,
			   const struct cpuid_table *host)
{
	const struct cpuid_vendor wanted = vendor(guest);
	const struct cpuid_vendor has = vendor(host);

	if (strcmp(wanted.name, has.name) != 0) {
		next(list);
		text_add(list->text, "a processor of vendor %s (the host has %s)", wanted.name,
			 has.name);
	}
}

static struct arch_register register_of(uint32_t leaf, uint32_t subleaf, unsigned reg)
{
	return (struct arch_register){
		.is_cpuid = true, .reg = reg, .leaf = leaf, .subleaf = subleaf};
}

static void add_feature(struct list *list, const struct cpuid_features *row, unsigned bit)
{
	const struct arch_register reg = register_of(row->leaf, row->subleaf, row->reg);
	const struct arch_field field = arch_field_at(&reg, bit);

	next(list);
	arch_field_add_name(list->text, &reg, &field);
}

static void compare_features(struct list *list, const struct cpuid_table *guest,
			     const struct cpuid_table *host)
{
	for (size_t i = 0; i < cpuid_feature_count; i++) {
		const struct cpuid_features *row = &cpuid_features[i];
		const uint32_t wanted = entry_reg(find(guest, row->leaf, row->subleaf), row->reg);
		const uint32_t has = entry_reg(find(host, row->leaf, row->subleaf), row->reg);
		uint32_t lacks = wanted & ~has & ~row->ignored & ~row->inverted;

		while (lacks != 0) {
			add_feature(list, row, (unsigned)__builtin_ctz(lacks));
			lacks &= lacks - 1;
		}
	}
}

static uint32_t field_value(const struct cpuid_table *table, const struct cpuid_field *row)
{
	return entry_reg(find(table, row->leaf, row->subleaf), row->reg) >> row->shift &
	       (uint32_t)((UINT64_C(1) << row->width) - 1);
}

/* Numbers: the guest must not have a larger one than the host. */
static void compare_limits(struct list *list, const struct cpuid_table *guest,
			   const struct cpuid_table *host)
{
	for (size_t i = 0; i < cpuid_field_count; i++) {
		const struct cpuid_field *row = &cpuid_fields[i];
		if (row->rule != ARCH_RULE_LIMIT) {
			continue;
		}
		const uint32_t wanted = field_value(guest, row);
		const uint32_t has = field_value(host, row);

		if (wanted > has) {
			next(list);
			text_add(list->text, "a %s of %u (the host has %u)", row->name, wanted,
				 has);
		}
	}
}

static void compare_cpuid(struct list *list, int kvm, const struct cpuid_table *guest)
{
	struct cpuid_table host;
	struct error err = {0};

	if (kvm_get_supported_cpuid(kvm, &host, &err) != 0) {
		next(list);
		text_add(list->text, "an answer to what its CPUID has (%s)", err.msg);
		return;
	}
	compare_vendor(list, guest, &host);
	compare_features(list, guest, &host);
	compare_limits(list, guest, &host);
}

static void compare_xsave(struct list *list, int kvm, uint32_t len)
{
	const uint32_t has = kvm_find_abilities(kvm).xsave_len;

	if (len > has) {
		next(list);
		text_add(list->text, "an XSAVE area of %u bytes (the host has %u)", len, has);
	}
}

static void compare_msrs(struct list *list, int kvm, const struct arch_vcpu_state *state)
{
	struct msr_list host;
	struct error err = {0};

	if (msr_list_to_save(kvm, NULL, &host, &err) != 0) {
		next(list);
		text_add(list->text, "an answer to which MSRs it has (%s)", err.msg);
		return;
	}
	for (uint32_t i = 0; i < state->msr_count; i++) {
		const uint32_t index = state->msrs[i].index;

		if (!msr_list_has(&host, index)) {
			next(list);
			msr_add_name(list->text, index);
		}
	}
}

unsigned explain_features(int kvm, const struct arch_vcpu_state *state, struct text *lacks)
{
	struct list list = {.text = lacks};

	compare_cpuid(&list, kvm, &state->cpuid);
	compare_xsave(&list, kvm, state->xsave_len);
	compare_msrs(&list, kvm, state);
	return list.count;
}

bool explain_tsc_differs(uint32_t saved_khz, uint32_t host_khz)
{
	/* No more than what NTP corrects as well. */
	enum {
		TOLERANCE_PPM = 250
	};
	const uint64_t larger = max_u64(saved_khz, host_khz);
	const uint64_t difference = larger - min_u64(saved_khz, host_khz);

	return saved_khz != 0 && host_khz != 0 &&
	       difference * 1000000 > (uint64_t)saved_khz * TOLERANCE_PPM;
}

/* The frequency of a VM's TSC; 0 if the host does not tell. */
static uint32_t host_tsc_khz(int kvm)
{
	AUTO_FD vm = -1;
	uint32_t khz;
	struct error ignored = {0};

	if (kvm_create_vm(kvm, arch_vm_type(kvm), &vm, &ignored) != 0 ||
	    kvm_get_tsc_khz(vm, &khz, &ignored) != 0) {
		return 0;
	}
	return khz;
}

unsigned arch_state_explain(int kvm, const struct arch_vcpu_state *state, struct text *lacks)
{
	struct list list = {.text = lacks, .count = explain_features(kvm, state, lacks)};

	if (!kvm_find_abilities(kvm).has_tsc_control) {
		const uint32_t khz = host_tsc_khz(kvm);

		if (explain_tsc_differs(state->tsc_khz, khz)) {
			next(&list);
			text_add(lacks, "a TSC of %u kHz (the host's runs at %u kHz)",
				 state->tsc_khz, khz);
		}
	}
	return list.count;
}
