/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest's processor is, as a template.
 *
 * Theory of operation. CPUID is asked of KVM, which has the last word on what the guest reads. Of
 * the registers that a state has, those are left out that Firecracker's dumps lack [compat], unless
 * the template names them: then somebody wants to know.
 */
#include "arch/template.h"

#include <stdlib.h>
#include <string.h>

#include "cpuid_features.h"
#include "kvm_x86.h"
#include "msr.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

static const struct left_out {
	uint32_t first;
	uint32_t last;
	const char *vendor; /* NULL: any */
} left_out[] = {
	{0x10, 0x10, NULL},		/* IA32_TSC: time */
	{0x6e0, 0x6e0, NULL},		/* IA32_TSC_DEADLINE: the same */
	{0x17a, 0x17a, NULL},		/* IA32_MCG_STATUS: no machine checks */
	{0x4d0, 0x4d0, NULL},		/* IA32_MCG_EXT_CTL: the same */
	{0x345, 0x345, NULL},		/* IA32_PERF_CAPABILITIES: no counters */
	{0x3f1, 0x3f2, NULL},		/* IA32_PEBS_ENABLE, MSR_PEBS_DATA_CFG: the same */
	{0x600, 0x600, NULL},		/* IA32_DS_AREA: the same */
	{0xc0010000, 0xc0010007, NULL}, /* AMD's legacy counters */
	{0xc0010200, 0xc001020b, NULL}, /* AMD's core counters */
	/* What the guest sets, and KVM does not list: MTRRs, banks of machine checks. */
	{0x200, 0x20f, NULL},
	{0x250, 0x250, NULL},
	{0x258, 0x259, NULL},
	{0x268, 0x26f, NULL},
	{0x2ff, 0x2ff, NULL},
	{0x400, 0x47f, NULL},
	/* IA32_ARCH_CAPABILITIES, which KVM emulates there, and CPUID hides */
	{0x10a, 0x10a, "AuthenticAMD"},
};

static bool is_left_out(uint32_t index, const char *vendor)
{
	for (size_t i = 0; i < ARRAY_COUNT(left_out); i++) {
		const struct left_out *row = &left_out[i];

		if (index >= row->first && index <= row->last &&
		    (row->vendor == NULL || strcmp(row->vendor, vendor) == 0)) {
			return true;
		}
	}
	return false;
}

static bool is_named(const struct cpu_template *cpu_template, uint32_t index)
{
	for (size_t i = 0; cpu_template != NULL && i < cpu_template->register_count; i++) {
		if (cpu_template->registers[i].id == index) {
			return true;
		}
	}
	return false;
}

static int by_leaf(const void *a, const void *b)
{
	const struct kvm_cpuid_entry2 *first = a;
	const struct kvm_cpuid_entry2 *second = b;

	if (first->function != second->function) {
		return first->function < second->function ? -1 : 1;
	}
	return first->index == second->index ? 0 : first->index < second->index ? -1 : 1;
}

static int by_index(const void *a, const void *b)
{
	const uint32_t first = ((const struct arch_msr *)a)->index;
	const uint32_t second = ((const struct arch_msr *)b)->index;

	return first == second ? 0 : first < second ? -1 : 1;
}

static struct cpu_template_leaf leaf_of(const struct kvm_cpuid_entry2 *entry)
{
	return (struct cpu_template_leaf){
		.leaf = entry->function,
		.subleaf = entry->index,
		.flags = entry->flags,
		.regs = {{UINT32_MAX, entry->eax},
			 {UINT32_MAX, entry->ebx},
			 {UINT32_MAX, entry->ecx},
			 {UINT32_MAX, entry->edx}},
	};
}

static uint32_t keep_msrs(struct arch_msr *msrs, uint32_t count, const struct cpuid_table *table,
			  const struct cpu_template *cpu_template)
{
	const struct kvm_cpuid_entry2 *first = &table->entry[0];
	struct cpuid_vendor vendor = {{0}};
	uint32_t kept = 0;

	if (table->count > 0 && first->function == 0) {
		vendor = cpuid_vendor(first->ebx, first->edx, first->ecx);
	}
	for (uint32_t i = 0; i < count; i++) {
		if (is_named(cpu_template, msrs[i].index) ||
		    !is_left_out(msrs[i].index, vendor.name)) {
			msrs[kept++] = msrs[i];
		}
	}
	return kept;
}

int arch_dump_cpu(const struct arch_vcpu *vcpu, struct cpu_template_block **dump, struct error *err)
{
	struct cpuid_table table;
	struct arch_msr msrs[MSR_LIST_MAX];
	struct cpu_template sizes = {0};
	uint32_t count;

	if (kvm_get_cpuid2(vcpu->fd, &table, err) != 0 ||
	    msr_read(vcpu->fd, &vcpu->vm->msrs, msrs, &count, err) != 0) {
		return -1;
	}
	qsort(table.entry, table.count, sizeof(table.entry[0]), by_leaf);
	qsort(msrs, count, sizeof(msrs[0]), by_index);
	sizes.leaf_count = table.count;
	sizes.register_count = keep_msrs(msrs, count, &table, vcpu->vm->cpu_template);
	if (cpu_template_block_new(&sizes, dump, err) != 0) {
		return -1;
	}
	for (uint32_t i = 0; i < sizes.leaf_count; i++) {
		(*dump)->leaves[i] = leaf_of(&table.entry[i]);
	}
	for (uint32_t i = 0; i < sizes.register_count; i++) {
		(*dump)->registers[i] = (struct cpu_template_register){
			msrs[i].index, {{UINT64_MAX}, {msrs[i].value}}};
	}
	return 0;
}
