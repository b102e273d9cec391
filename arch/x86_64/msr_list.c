/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which model-specific registers are a vCPU's state.
 *
 * Theory of operation. KVM lists the registers that it keeps for a guest, and the list grows with
 * each kernel and processor. What is to be saved is all of it but what is named here, so that state
 * which only a newer kernel knows is not lost in silence, as IA32_XSS was by lists of what to save.
 * A register that is left out is one of which a guest of squib has nothing: its CPUID
 * (cpuid_allow.c) lacks the feature, or the register keeps nothing. What an old kernel leaves out
 * of its list, though it keeps it, is added.
 */
#include "msr.h"

#include "kvm_x86.h"
#include "vmm/base/bytes.h"

struct msr_range {
	uint32_t first;
	uint32_t last;
};

static const struct msr_range left_out[] = {
	/* Commands: what is written is done, and nothing is kept. */
	{0x49, 0x49},	/* IA32_PRED_CMD */
	{0x10b, 0x10b}, /* IA32_FLUSH_CMD */
	/*
	 * Setting these writes the wall clock to guest memory, whose page already has what the
	 * guest was told.
	 */
	{0x11, 0x11},		  /* MSR_KVM_WALL_CLOCK */
	{0x4b564d00, 0x4b564d00}, /* MSR_KVM_WALL_CLOCK_NEW */
	/* No virtual PMU. */
	{0xc1, 0xc8},		  /* IA32_PMC */
	{0x186, 0x18d},		  /* IA32_PERFEVTSEL */
	{0x309, 0x30c},		  /* IA32_FIXED_CTR */
	{0x345, 0x345},		  /* IA32_PERF_CAPABILITIES */
	{0x38d, 0x391},		  /* control of the counters */
	{0x3f1, 0x3f2},		  /* IA32_PEBS_ENABLE, MSR_PEBS_DATA_CFG */
	{0x4c1, 0x4c8},		  /* IA32_A_PMC */
	{0x600, 0x600},		  /* IA32_DS_AREA */
	{0xc0000300, 0xc0000303}, /* AMD's global control */
	{0xc0010000, 0xc0010007}, /* AMD's legacy counters */
	{0xc0010200, 0xc001020b}, /* AMD's core counters */
	/* No nested virtualization. */
	{0x480, 0x493},		  /* IA32_VMX_* */
	{0xc0000104, 0xc0000104}, /* MSR_AMD64_TSC_RATIO */
	{0xc0010114, 0xc0010117}, /* VM_CR, IGNNE, SMM_CTL, VM_HSAVE_PA */
	/* No processor trace. */
	{0x560, 0x587},
	/* The hypervisor is KVM: asking for one of Hyper-V's makes KVM set up all of them. */
	{0x40000000, 0x400001ff},
	/* The processor has no such register, as its IA32_MCG_CAP says. */
	{0x17b, 0x17b}, /* IA32_MCG_CTL */
	/* A record for debuggers that AMD's KVM tells but does not take. */
	{0x1db, 0x1de}, /* last branch and interrupt */
};

/* What KVM has always kept, and lists since late or not at all. */
static const struct msr_range added[] = {
	/* MTRRs: of variable range, fixed ones, IA32_PAT, and what is in none of them */
	{0x200, 0x20f},		  {0x250, 0x250}, {0x258, 0x259}, {0x268, 0x26f},
	{0x277, 0x277},		  {0x2ff, 0x2ff}, {0x400, 0x47f}, /* 32 banks of machine checks */
	{0xc0011029, 0xc0011029}, /* MSR_AMD64_DE_CFG, where guests make LFENCE serialize */
};

static bool is_in(const struct msr_range *ranges, size_t count, uint32_t index)
{
	for (size_t i = 0; i < count; i++) {
		if (index >= ranges[i].first && index <= ranges[i].last) {
			return true;
		}
	}
	return false;
}

bool msr_list_has(const struct msr_list *list, uint32_t index)
{
	for (uint32_t i = 0; i < list->count; i++) {
		if (list->index[i] == index) {
			return true;
		}
	}
	return false;
}

/* One that is not in the list yet. */
static int append(struct msr_list *list, uint32_t index, struct error *err)
{
	if (list->count == MSR_LIST_MAX) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The host's KVM keeps more model-specific registers than the %d "
				 "that a state can have",
				 MSR_LIST_MAX);
	}
	list->index[list->count] = index;
	list->count++;
	return 0;
}

int msr_list_to_save(int kvm, const struct cpu_template *cpu_template, struct msr_list *list,
		     struct error *err)
{
	uint32_t kept = 0;

	if (kvm_get_msr_list(kvm, list, err) != 0) {
		return -1;
	}
	for (uint32_t i = 0; i < list->count; i++) {
		uint32_t index = list->index[i];

		/* Those that are added anyway are, whether they are listed or not. */
		if (!is_in(left_out, ARRAY_COUNT(left_out), index) &&
		    !is_in(added, ARRAY_COUNT(added), index)) {
			list->index[kept] = index;
			kept++;
		}
	}
	list->count = kept;
	for (size_t i = 0; i < ARRAY_COUNT(added); i++) {
		for (uint32_t index = added[i].first; index <= added[i].last; index++) {
			if (append(list, index, err) != 0) {
				return -1;
			}
		}
	}
	for (size_t i = 0; cpu_template != NULL && i < cpu_template->register_count; i++) {
		uint32_t index = (uint32_t)cpu_template->registers[i].id;

		if (!msr_list_has(list, index) && append(list, index, err) != 0) {
			return -1;
		}
	}
	return 0;
}

/* Reads up to KVM_MSRS_MAX registers from list->index[at] on; returns how many were looked at. */
static uint32_t read_some(int vcpu, const struct msr_list *list, uint32_t at, struct arch_msr *msrs,
			  uint32_t *read, struct error *err)
{
	const uint32_t count = (uint32_t)min_u64(list->count - at, KVM_MSRS_MAX);
	struct kvm_msr_entry entries[KVM_MSRS_MAX] = {0};
	size_t done;

	for (uint32_t i = 0; i < count; i++) {
		entries[i].index = list->index[at + i];
	}
	if (kvm_get_msrs(vcpu, entries, count, &done, err) != 0) {
		return 0;
	}
	for (size_t i = 0; i < done; i++) {
		msrs[i] = (struct arch_msr){.index = entries[i].index, .value = entries[i].data};
	}
	*read = (uint32_t)done;
	/* What can't be read, this vCPU does not have. */
	return (uint32_t)done + (done < count ? 1 : 0);
}

int msr_read(int vcpu, const struct msr_list *list, struct arch_msr *msrs, uint32_t *count,
	     struct error *err)
{
	uint32_t at = 0;

	*count = 0;
	while (at < list->count) {
		uint32_t read = 0;
		const uint32_t seen = read_some(vcpu, list, at, &msrs[*count], &read, err);

		if (seen == 0) {
			return -1;
		}
		*count += read;
		at += seen;
	}
	return 0;
}
