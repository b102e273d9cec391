/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What model-specific registers are called, and their bits: [intel-sdm vol. 4, table 2-2],
 * [amd-apm vol. 2, appendix A], KVM's own in the kernel's Documentation/virt/kvm/x86/msr.rst.
 */
#include "msr.h"

#include <string.h>

#include "vmm/base/bytes.h"

static const char *const arch_capabilities[64] = {
	[0] = "RDCL_NO",
	[1] = "IBRS_ALL",
	[2] = "RSBA",
	[3] = "SKIP_L1DFL_VMENTRY",
	[4] = "SSB_NO",
	[5] = "MDS_NO",
	[6] = "IF_PSCHANGE_MC_NO",
	[7] = "TSX_CTRL",
	[8] = "TAA_NO",
	[9] = "MCU_CONTROL",
	[10] = "MISC_PACKAGE_CTLS",
	[11] = "ENERGY_FILTERING_CTL",
	[12] = "DOITM",
	[13] = "SBDR_SSDP_NO",
	[14] = "FBSDP_NO",
	[15] = "PSDP_NO",
	[16] = "MCU_ENUMERATION",
	[17] = "FB_CLEAR",
	[18] = "FB_CLEAR_CTRL",
	[19] = "RRSBA",
	[20] = "BHI_NO",
	[21] = "XAPIC_DISABLE_STATUS",
	[22] = "MCU_EXTENDED_SERVICE",
	[23] = "OVERCLOCKING_STATUS",
	[24] = "PBRSB_NO",
	[25] = "GDS_CTRL",
	[26] = "GDS_NO",
	[27] = "RFDS_NO",
	[28] = "RFDS_CLEAR",
	[29] = "IGN_UMONITOR_SUPPORT",
	[30] = "MON_UMON_MITG_SUPPORT",
	[62] = "ITS_NO",
};

/* Of IA32_ARCH_CAPABILITIES: that returns may be predicted by other means than the stack. */
#define ARCH_CAPABILITIES_FAULTS (UINT64_C(1) << 2 | UINT64_C(1) << 19)

static const char *const core_capabilities[64] = {
	[0] = "STLB_QOS",	  [1] = "FUSA",
	[2] = "RSM_IN_CPL0_ONLY", [3] = "UC_LOCK_DISABLE",
	[4] = "SNOOP_FILTER_QOS", [5] = "SPLIT_LOCK_DETECT",
};

static const char *const platform_info[64] = {
	[28] = "PROGRAMMABLE_RATIO_LIMIT",
	[29] = "PROGRAMMABLE_TDP_LIMIT",
	[30] = "PROGRAMMABLE_TJ_OFFSET",
	[31] = "CPUID_FAULTING",
};

static const char *const spec_ctrl[64] = {
	[0] = "IBRS",	     [1] = "STIBP",	  [2] = "SSBD",	       [3] = "IPRED_DIS_U",
	[4] = "IPRED_DIS_S", [5] = "RRSBA_DIS_U", [6] = "RRSBA_DIS_S", [7] = "PSFD",
	[8] = "DDPD_U",	     [10] = "BHI_DIS_S",
};

static const char *const feature_control[64] = {
	[0] = "LOCKED",	 [1] = "VMX_IN_SMX", [2] = "VMX",
	[17] = "SGX_LC", [18] = "SGX",	     [20] = "LMCE",
};

static const char *const tsx_ctrl[64] = {
	[0] = "RTM_DISABLE",
	[1] = "TSX_CPUID_CLEAR",
};

static const char *const mcu_opt_ctrl[64] = {
	[0] = "RNGDS_MITG_DIS", [1] = "RTM_ALLOW",    [2] = "RTM_LOCKED",
	[3] = "FB_CLEAR_DIS",	[4] = "GDS_MITG_DIS", [5] = "GDS_MITG_LOCK",
};

static const char *const misc_enable[64] = {
	[0] = "FAST_STRING",	  [3] = "THERMAL_CONTROL",   [7] = "PMU",
	[11] = "BTS_UNAVAILABLE", [12] = "PEBS_UNAVAILABLE", [16] = "EIST",
	[18] = "MONITOR",	  [22] = "LIMIT_CPUID",	     [23] = "XTPR_DISABLE",
	[34] = "XD_DISABLE",	  [38] = "TURBO_DISABLE",
};

static const char *const misc_features_enables[64] = {
	[0] = "CPUID_FAULT",
	[1] = "RING3_MWAIT",
};

static const char *const efer[64] = {
	[0] = "SCE",	  [8] = "LME",	  [10] = "LMA",	  [11] = "NX",
	[12] = "SVME",	  [13] = "LMSLE", [14] = "FFXSR", [15] = "TCE",
	[17] = "MCOMMIT", [18] = "INTWB", [20] = "UAIE",  [21] = "AUTOMATIC_IBRS_ON",
};

static const char *const xss[64] = {
	[8] = "PT",   [10] = "PASID", [11] = "CET_U", [12] = "CET_S",
	[13] = "HDC", [14] = "UINTR", [15] = "LBR",   [16] = "HWP",
};

static const char *const de_cfg[64] = {
	[1] = "LFENCE_SERIALIZE",
	[9] = "ZEN2_FP_BACKUP_FIX",
};

static const char *const hwcr[64] = {
	[3] = "TLBCACHEDIS",	  [6] = "FFDIS",
	[8] = "IGNNE_EM",	  [18] = "MCSTATUS_WREN",
	[24] = "TSC_FREQ_SELECT", [25] = "CPB_DISABLE",
	[30] = "IRPERF_ENABLE",	  [35] = "CPUID_USER_DISABLE",
};

static const char *const perf_capabilities[64] = {
	[6] = "PEBS_TRAP",	   [7] = "PEBS_ARCH_REGS", [12] = "SMM_FREEZE",
	[13] = "FULL_WIDTH_WRITE", [14] = "PEBS_BASELINE", [15] = "PERF_METRICS",
	[16] = "PEBS_OUTPUT_PT",
};

static const char *const mcg_cap[64] = {
	[8] = "MCG_CTL",  [9] = "MCG_EXT",  [10] = "MCG_CMCI", [11] = "MCG_TES",
	[24] = "MCG_SER", [25] = "MCG_EMC", [26] = "MCG_ELOG", [27] = "MCG_LMCE",
};

#define AND ARCH_RULE_AND
#define MIN ARCH_RULE_MIN
#define LEFT ARCH_RULE_LEFT
#define MACHINE ARCH_RULE_MACHINE /* what the guest itself sets, or squib */

/* By number. Those that are in no list are MACHINE. */
static const struct msr_name {
	uint32_t index;
	const char *name;
	enum arch_rule rule;
	const char *const *bits; /* names of the 64; NULL: the value is one number */
} names[] = {
	{0x10, "IA32_TSC", MACHINE, NULL},
	{0x11, "MSR_KVM_WALL_CLOCK", MACHINE, NULL},
	{0x12, "MSR_KVM_SYSTEM_TIME", MACHINE, NULL},
	{0x17, "IA32_PLATFORM_ID", LEFT, NULL},
	{0x1b, "IA32_APIC_BASE", MACHINE, NULL},
	{0x2a, "MSR_EBL_CR_POWERON", MACHINE, NULL},
	{0x33, "MSR_TEST_CTRL", MACHINE, NULL},
	{0x34, "MSR_SMI_COUNT", MACHINE, NULL},
	{0x3a, "IA32_FEATURE_CONTROL", MACHINE, feature_control},
	{0x3b, "IA32_TSC_ADJUST", MACHINE, NULL},
	{0x48, "IA32_SPEC_CTRL", MACHINE, spec_ctrl},
	{0x49, "IA32_PRED_CMD", MACHINE, NULL},
	{0x79, "IA32_BIOS_UPDT_TRIG", MACHINE, NULL},
	{0x8b, "IA32_BIOS_SIGN_ID", MIN, NULL},
	{0x8c, "IA32_SGXLEPUBKEYHASH0", MACHINE, NULL},
	{0x8d, "IA32_SGXLEPUBKEYHASH1", MACHINE, NULL},
	{0x8e, "IA32_SGXLEPUBKEYHASH2", MACHINE, NULL},
	{0x8f, "IA32_SGXLEPUBKEYHASH3", MACHINE, NULL},
	{0x9e, "IA32_SMBASE", MACHINE, NULL},
	{0xcd, "MSR_FSB_FREQ", LEFT, NULL},
	{0xce, "MSR_PLATFORM_INFO", AND, platform_info},
	{0xcf, "IA32_CORE_CAPABILITIES", AND, core_capabilities},
	{0xe1, "IA32_UMWAIT_CONTROL", MACHINE, NULL},
	{0xe2, "MSR_PKG_CST_CONFIG_CONTROL", MACHINE, NULL},
	{0xe7, "IA32_MPERF", MACHINE, NULL},
	{0xe8, "IA32_APERF", MACHINE, NULL},
	{0xfe, "IA32_MTRRCAP", LEFT, NULL},
	{0x10a, "IA32_ARCH_CAPABILITIES", AND, arch_capabilities},
	{0x10b, "IA32_FLUSH_CMD", MACHINE, NULL},
	{0x11e, "MSR_BBL_CR_CTL3", MACHINE, NULL},
	{0x122, "IA32_TSX_CTRL", MACHINE, tsx_ctrl},
	{0x123, "IA32_MCU_OPT_CTRL", MACHINE, mcu_opt_ctrl},
	{0x140, "MSR_MISC_FEATURES_ENABLES", MACHINE, misc_features_enables},
	{0x174, "IA32_SYSENTER_CS", MACHINE, NULL},
	{0x175, "IA32_SYSENTER_ESP", MACHINE, NULL},
	{0x176, "IA32_SYSENTER_EIP", MACHINE, NULL},
	{0x179, "IA32_MCG_CAP", LEFT, mcg_cap},
	{0x17a, "IA32_MCG_STATUS", MACHINE, NULL},
	{0x17b, "IA32_MCG_CTL", MACHINE, NULL},
	{0x198, "IA32_PERF_STATUS", MACHINE, NULL},
	{0x199, "IA32_PERF_CTL", MACHINE, NULL},
	{0x19a, "IA32_CLOCK_MODULATION", MACHINE, NULL},
	{0x19b, "IA32_THERM_INTERRUPT", MACHINE, NULL},
	{0x19c, "IA32_THERM_STATUS", MACHINE, NULL},
	{0x1a0, "IA32_MISC_ENABLE", MACHINE, misc_enable},
	{0x1a2, "MSR_TEMPERATURE_TARGET", LEFT, NULL},
	{0x1a4, "MSR_MISC_FEATURE_CONTROL", MACHINE, NULL},
	{0x1aa, "MSR_MISC_PWR_MGMT", MACHINE, NULL},
	{0x1ad, "MSR_TURBO_RATIO_LIMIT", MACHINE, NULL},
	{0x1b0, "IA32_ENERGY_PERF_BIAS", MACHINE, NULL},
	{0x1c4, "IA32_XFD", MACHINE, NULL},
	{0x1c5, "IA32_XFD_ERR", MACHINE, NULL},
	{0x1d9, "IA32_DEBUGCTL", MACHINE, NULL},
	{0x1db, "LASTBRANCHFROMIP", MACHINE, NULL},
	{0x1dc, "LASTBRANCHTOIP", MACHINE, NULL},
	{0x1dd, "LASTINTFROMIP", MACHINE, NULL},
	{0x1de, "LASTINTTOIP", MACHINE, NULL},
	{0x1fc, "MSR_POWER_CTL", MACHINE, NULL},
	{0x277, "IA32_PAT", MACHINE, NULL},
	{0x2ff, "IA32_MTRR_DEF_TYPE", MACHINE, NULL},
	{0x345, "IA32_PERF_CAPABILITIES", LEFT, perf_capabilities},
	{0x38d, "IA32_FIXED_CTR_CTRL", MACHINE, NULL},
	{0x38e, "IA32_PERF_GLOBAL_STATUS", MACHINE, NULL},
	{0x38f, "IA32_PERF_GLOBAL_CTRL", MACHINE, NULL},
	{0x390, "IA32_PERF_GLOBAL_OVF_CTRL", MACHINE, NULL},
	{0x3f1, "IA32_PEBS_ENABLE", MACHINE, NULL},
	{0x3f2, "MSR_PEBS_DATA_CFG", MACHINE, NULL},
	{0x480, "IA32_VMX_BASIC", LEFT, NULL},
	{0x481, "IA32_VMX_PINBASED_CTLS", LEFT, NULL},
	{0x482, "IA32_VMX_PROCBASED_CTLS", LEFT, NULL},
	{0x483, "IA32_VMX_EXIT_CTLS", LEFT, NULL},
	{0x484, "IA32_VMX_ENTRY_CTLS", LEFT, NULL},
	{0x485, "IA32_VMX_MISC", LEFT, NULL},
	{0x486, "IA32_VMX_CR0_FIXED0", LEFT, NULL},
	{0x487, "IA32_VMX_CR0_FIXED1", LEFT, NULL},
	{0x488, "IA32_VMX_CR4_FIXED0", LEFT, NULL},
	{0x489, "IA32_VMX_CR4_FIXED1", LEFT, NULL},
	{0x48a, "IA32_VMX_VMCS_ENUM", LEFT, NULL},
	{0x48b, "IA32_VMX_PROCBASED_CTLS2", LEFT, NULL},
	{0x48c, "IA32_VMX_EPT_VPID_CAP", LEFT, NULL},
	{0x48d, "IA32_VMX_TRUE_PINBASED_CTLS", LEFT, NULL},
	{0x48e, "IA32_VMX_TRUE_PROCBASED_CTLS", LEFT, NULL},
	{0x48f, "IA32_VMX_TRUE_EXIT_CTLS", LEFT, NULL},
	{0x490, "IA32_VMX_TRUE_ENTRY_CTLS", LEFT, NULL},
	{0x491, "IA32_VMX_VMFUNC", LEFT, NULL},
	{0x492, "IA32_VMX_PROCBASED_CTLS3", LEFT, NULL},
	{0x493, "IA32_VMX_EXIT_CTLS2", LEFT, NULL},
	{0x4d0, "IA32_MCG_EXT_CTL", MACHINE, NULL},
	{0x570, "IA32_RTIT_CTL", MACHINE, NULL},
	{0x571, "IA32_RTIT_STATUS", MACHINE, NULL},
	{0x572, "IA32_RTIT_CR3_MATCH", MACHINE, NULL},
	{0x600, "IA32_DS_AREA", MACHINE, NULL},
	{0x606, "MSR_RAPL_POWER_UNIT", LEFT, NULL},
	{0x6a0, "IA32_U_CET", MACHINE, NULL},
	{0x6a2, "IA32_S_CET", MACHINE, NULL},
	{0x6a4, "IA32_PL0_SSP", MACHINE, NULL},
	{0x6a5, "IA32_PL1_SSP", MACHINE, NULL},
	{0x6a6, "IA32_PL2_SSP", MACHINE, NULL},
	{0x6a7, "IA32_PL3_SSP", MACHINE, NULL},
	{0x6a8, "IA32_INTERRUPT_SSP_TABLE_ADDR", MACHINE, NULL},
	{0x6e0, "IA32_TSC_DEADLINE", MACHINE, NULL},
	{0x7a3, "IA32_MCU_EXT_SERVICE", MACHINE, NULL},
	{0xd90, "IA32_BNDCFGS", MACHINE, NULL},
	{0xda0, "IA32_XSS", MACHINE, xss},
	{0x4b564d00, "MSR_KVM_WALL_CLOCK_NEW", MACHINE, NULL},
	{0x4b564d01, "MSR_KVM_SYSTEM_TIME_NEW", MACHINE, NULL},
	{0x4b564d02, "MSR_KVM_ASYNC_PF_EN", MACHINE, NULL},
	{0x4b564d03, "MSR_KVM_STEAL_TIME", MACHINE, NULL},
	{0x4b564d04, "MSR_KVM_PV_EOI_EN", MACHINE, NULL},
	{0x4b564d05, "MSR_KVM_POLL_CONTROL", MACHINE, NULL},
	{0x4b564d06, "MSR_KVM_ASYNC_PF_INT", MACHINE, NULL},
	{0x4b564d07, "MSR_KVM_ASYNC_PF_ACK", MACHINE, NULL},
	{0x4b564d08, "MSR_KVM_MIGRATION_CONTROL", MACHINE, NULL},
	{0xc0000080, "IA32_EFER", MACHINE, efer},
	{0xc0000081, "IA32_STAR", MACHINE, NULL},
	{0xc0000082, "IA32_LSTAR", MACHINE, NULL},
	{0xc0000083, "IA32_CSTAR", MACHINE, NULL},
	{0xc0000084, "IA32_FMASK", MACHINE, NULL},
	{0xc0000100, "IA32_FS_BASE", MACHINE, NULL},
	{0xc0000101, "IA32_GS_BASE", MACHINE, NULL},
	{0xc0000102, "IA32_KERNEL_GS_BASE", MACHINE, NULL},
	{0xc0000103, "IA32_TSC_AUX", MACHINE, NULL},
	{0xc0000104, "MSR_AMD64_TSC_RATIO", MACHINE, NULL},
	{0xc0000300, "MSR_AMD64_PERF_CNTR_GLOBAL_STATUS", MACHINE, NULL},
	{0xc0000301, "MSR_AMD64_PERF_CNTR_GLOBAL_CTL", MACHINE, NULL},
	{0xc0000302, "MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_CLR", MACHINE, NULL},
	{0xc0010010, "MSR_AMD64_SYSCFG", MACHINE, NULL},
	{0xc0010015, "MSR_K7_HWCR", MACHINE, hwcr},
	{0xc0010058, "MSR_FAM10H_MMIO_CONF_BASE", MACHINE, NULL},
	{0xc0010114, "MSR_VM_CR", MACHINE, NULL},
	{0xc0010115, "MSR_VM_IGNNE", MACHINE, NULL},
	{0xc0010117, "MSR_VM_HSAVE_PA", MACHINE, NULL},
	{0xc001011f, "MSR_AMD64_VIRT_SPEC_CTRL", MACHINE, NULL},
	{0xc0010131, "MSR_AMD64_SEV", MACHINE, NULL},
	{0xc0010140, "MSR_AMD64_OSVW_ID_LENGTH", MACHINE, NULL},
	{0xc0010141, "MSR_AMD64_OSVW_STATUS", MACHINE, NULL},
	{0xc0011020, "MSR_AMD64_LS_CFG", MACHINE, NULL},
	{0xc0011029, "MSR_AMD64_DE_CFG", MACHINE, de_cfg},
	{0xc001102a, "MSR_AMD64_BU_CFG2", MACHINE, NULL},
	{0xc001102e, "MSR_AMD64_BP_CFG", MACHINE, NULL},
};

/* Registers that are many of a kind: IA32_MC0_CTL, IA32_MC0_STATUS... IA32_MC1_CTL. */
static const struct {
	uint32_t first;
	uint32_t last;
	const char *const names[4]; /* with the place of the number as #, counted from 0 */
} ranges[] = {
	{0xc1, 0xc8, {"IA32_PMC#"}},
	{0x186, 0x18d, {"IA32_PERFEVTSEL#"}},
	{0x280, 0x29f, {"IA32_MC#_CTL2"}},
	{0x309, 0x30c, {"IA32_FIXED_CTR#"}},
	{0x4c1, 0x4c8, {"IA32_A_PMC#"}},
	{0x200, 0x21f, {"IA32_MTRR_PHYSBASE#", "IA32_MTRR_PHYSMASK#"}},
	{0x250, 0x250, {"IA32_MTRR_FIX64K_00000"}},
	{0x258, 0x259, {"IA32_MTRR_FIX16K_#"}},
	{0x268, 0x26f, {"IA32_MTRR_FIX4K_#"}},
	{0x400, 0x47f, {"IA32_MC#_CTL", "IA32_MC#_STATUS", "IA32_MC#_ADDR", "IA32_MC#_MISC"}},
	{0x580, 0x587, {"IA32_RTIT_ADDR#_A", "IA32_RTIT_ADDR#_B"}},
	{0x800, 0x83f, {"x2APIC register #"}},
	{0xc0010000, 0xc0010003, {"MSR_K7_EVNTSEL#"}},
	{0xc0010004, 0xc0010007, {"MSR_K7_PERFCTR#"}},
	{0xc0010200, 0xc001020b, {"MSR_F15H_PERF_CTL#", "MSR_F15H_PERF_CTR#"}},
};

static const struct msr_name *find(uint32_t index)
{
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (names[i].index == index) {
			return &names[i];
		}
	}
	return NULL;
}

static bool add_range_name(struct text *text, uint32_t index)
{
	for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
		if (index < ranges[i].first || index > ranges[i].last) {
			continue;
		}
		const unsigned at = index - ranges[i].first;
		unsigned kinds = 0;

		while (kinds < ARRAY_COUNT(ranges[i].names) && ranges[i].names[kinds] != NULL) {
			kinds++;
		}
		const char *name = ranges[i].names[at % kinds];
		const int before = (int)strcspn(name, "#");

		text_add(text, "%.*s", before, name);
		if (name[before] == '#') {
			text_add(text, "%u%s", at / kinds, name + before + 1);
		}
		return true;
	}
	return false;
}

void msr_add_name(struct text *text, uint32_t index)
{
	const struct msr_name *found = find(index);

	if (found != NULL) {
		text_add(text, "%s (MSR 0x%x)", found->name, index);
	} else if (add_range_name(text, index)) {
		text_add(text, " (MSR 0x%x)", index);
	} else {
		text_add(text, "MSR 0x%x", index);
	}
}

struct arch_field msr_field(uint32_t index, unsigned bit)
{
	const struct msr_name *found = find(index);

	if (found == NULL || found->bits == NULL) {
		return (struct arch_field){.width = 64,
					   .rule = found != NULL ? found->rule : MACHINE};
	}
	const bool is_fault =
		found->bits == arch_capabilities && (ARCH_CAPABILITIES_FAULTS >> bit & 1) != 0;

	return (struct arch_field){.shift = bit,
				   .width = 1,
				   .name = found->bits[bit],
				   .rule = is_fault ? ARCH_RULE_OR : found->rule};
}
