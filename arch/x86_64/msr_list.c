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

static bool is_left_out(uint32_t index)
{
	for (size_t i = 0; i < ARRAY_COUNT(left_out); i++) {
		if (index >= left_out[i].first && index <= left_out[i].last) {
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

static int add(struct msr_list *list, uint32_t index, struct error *err)
{
	if (msr_list_has(list, index)) {
		return 0;
	}
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
		if (!is_left_out(list->index[i])) {
			list->index[kept] = list->index[i];
			kept++;
		}
	}
	list->count = kept;
	for (size_t i = 0; i < ARRAY_COUNT(added); i++) {
		for (uint32_t index = added[i].first; index <= added[i].last; index++) {
			if (add(list, index, err) != 0) {
				return -1;
			}
		}
	}
	for (size_t i = 0; cpu_template != NULL && i < cpu_template->register_count; i++) {
		if (add(list, (uint32_t)cpu_template->registers[i].id, err) != 0) {
			return -1;
		}
	}
	return 0;
}

static const struct {
	uint32_t index;
	const char *name;
} names[] = {
	{0x10, "IA32_TSC"},
	{0x12, "MSR_KVM_SYSTEM_TIME"},
	{0x34, "MSR_SMI_COUNT"},
	{0x3a, "IA32_FEATURE_CONTROL"},
	{0x3b, "IA32_TSC_ADJUST"},
	{0x48, "IA32_SPEC_CTRL"},
	{0x8b, "IA32_BIOS_SIGN_ID"},
	{0x9e, "IA32_SMBASE"},
	{0xce, "MSR_PLATFORM_INFO"},
	{0xe1, "IA32_UMWAIT_CONTROL"},
	{0x10a, "IA32_ARCH_CAPABILITIES"},
	{0x122, "IA32_TSX_CTRL"},
	{0x140, "MSR_MISC_FEATURES_ENABLES"},
	{0x174, "IA32_SYSENTER_CS"},
	{0x175, "IA32_SYSENTER_ESP"},
	{0x176, "IA32_SYSENTER_EIP"},
	{0x17a, "IA32_MCG_STATUS"},
	{0x1a0, "IA32_MISC_ENABLE"},
	{0x1c4, "IA32_XFD"},
	{0x1c5, "IA32_XFD_ERR"},
	{0x1d9, "IA32_DEBUGCTL"},
	{0x1fc, "MSR_POWER_CTL"},
	{0x277, "IA32_PAT"},
	{0x2ff, "IA32_MTRR_DEF_TYPE"},
	{0x4d0, "IA32_MCG_EXT_CTL"},
	{0x6a0, "IA32_U_CET"},
	{0x6a2, "IA32_S_CET"},
	{0x6a4, "IA32_PL0_SSP"},
	{0x6a5, "IA32_PL1_SSP"},
	{0x6a6, "IA32_PL2_SSP"},
	{0x6a7, "IA32_PL3_SSP"},
	{0x6a8, "IA32_INTERRUPT_SSP_TABLE_ADDR"},
	{0x6e0, "IA32_TSC_DEADLINE"},
	{0xd90, "IA32_BNDCFGS"},
	{0xda0, "IA32_XSS"},
	{0x4b564d01, "MSR_KVM_SYSTEM_TIME_NEW"},
	{0x4b564d02, "MSR_KVM_ASYNC_PF_EN"},
	{0x4b564d03, "MSR_KVM_STEAL_TIME"},
	{0x4b564d04, "MSR_KVM_PV_EOI_EN"},
	{0x4b564d05, "MSR_KVM_POLL_CONTROL"},
	{0x4b564d06, "MSR_KVM_ASYNC_PF_INT"},
	{0x4b564d07, "MSR_KVM_ASYNC_PF_ACK"},
	{0x4b564d08, "MSR_KVM_MIGRATION_CONTROL"},
	{0xc0000081, "IA32_STAR"},
	{0xc0000082, "IA32_LSTAR"},
	{0xc0000083, "IA32_CSTAR"},
	{0xc0000084, "IA32_FMASK"},
	{0xc0000102, "IA32_KERNEL_GS_BASE"},
	{0xc0000103, "IA32_TSC_AUX"},
	{0xc0010015, "MSR_K7_HWCR"},
	{0xc0011029, "MSR_AMD64_DE_CFG"},
	{0xc001011f, "MSR_AMD64_VIRT_SPEC_CTRL"},
};

void msr_add_name(struct text *text, uint32_t index)
{
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (names[i].index == index) {
			text_add(text, "%s (MSR 0x%x)", names[i].name, index);
			return;
		}
	}
	text_add(text, "MSR 0x%x", index);
}
