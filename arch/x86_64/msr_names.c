/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What model-specific registers are called, and their bits: [intel-sdm vol. 4, table 2-2],
 * [amd-apm vol. 2, appendix A], KVM's own in the kernel's Documentation/virt/kvm/x86/msr.rst.
 */
#include "msr.h"

#include <string.h>

#include "vmm/base/bytes.h"

/* Names stand in their tables: pointers to them would be memory of each process. */
enum {
	BIT_NAME_LEN = 28,
	NAME_LEN = 40
};

static const char arch_capabilities[64][BIT_NAME_LEN] = {
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

static const char core_capabilities[64][BIT_NAME_LEN] = {
	[0] = "STLB_QOS",	  [1] = "FUSA",
	[2] = "RSM_IN_CPL0_ONLY", [3] = "UC_LOCK_DISABLE",
	[4] = "SNOOP_FILTER_QOS", [5] = "SPLIT_LOCK_DETECT",
};

static const char platform_info[64][BIT_NAME_LEN] = {
	[28] = "PROGRAMMABLE_RATIO_LIMIT",
	[29] = "PROGRAMMABLE_TDP_LIMIT",
	[30] = "PROGRAMMABLE_TJ_OFFSET",
	[31] = "CPUID_FAULTING",
};

static const char spec_ctrl[64][BIT_NAME_LEN] = {
	[0] = "IBRS",	     [1] = "STIBP",	  [2] = "SSBD",	       [3] = "IPRED_DIS_U",
	[4] = "IPRED_DIS_S", [5] = "RRSBA_DIS_U", [6] = "RRSBA_DIS_S", [7] = "PSFD",
	[8] = "DDPD_U",	     [10] = "BHI_DIS_S",
};

static const char feature_control[64][BIT_NAME_LEN] = {
	[0] = "LOCKED",	 [1] = "VMX_IN_SMX", [2] = "VMX",
	[17] = "SGX_LC", [18] = "SGX",	     [20] = "LMCE",
};

static const char tsx_ctrl[64][BIT_NAME_LEN] = {
	[0] = "RTM_DISABLE",
	[1] = "TSX_CPUID_CLEAR",
};

static const char mcu_opt_ctrl[64][BIT_NAME_LEN] = {
	[0] = "RNGDS_MITG_DIS", [1] = "RTM_ALLOW",    [2] = "RTM_LOCKED",
	[3] = "FB_CLEAR_DIS",	[4] = "GDS_MITG_DIS", [5] = "GDS_MITG_LOCK",
};

static const char misc_enable[64][BIT_NAME_LEN] = {
	[0] = "FAST_STRING",	  [3] = "THERMAL_CONTROL",   [7] = "PMU",
	[11] = "BTS_UNAVAILABLE", [12] = "PEBS_UNAVAILABLE", [16] = "EIST",
	[18] = "MONITOR",	  [22] = "LIMIT_CPUID",	     [23] = "XTPR_DISABLE",
	[34] = "XD_DISABLE",	  [38] = "TURBO_DISABLE",
};

static const char misc_features_enables[64][BIT_NAME_LEN] = {
	[0] = "CPUID_FAULT",
	[1] = "RING3_MWAIT",
};

static const char efer[64][BIT_NAME_LEN] = {
	[0] = "SCE",	  [8] = "LME",	  [10] = "LMA",	  [11] = "NX",
	[12] = "SVME",	  [13] = "LMSLE", [14] = "FFXSR", [15] = "TCE",
	[17] = "MCOMMIT", [18] = "INTWB", [20] = "UAIE",  [21] = "AUTOMATIC_IBRS_ON",
};

static const char xss[64][BIT_NAME_LEN] = {
	[8] = "PT",   [10] = "PASID", [11] = "CET_U", [12] = "CET_S",
	[13] = "HDC", [14] = "UINTR", [15] = "LBR",   [16] = "HWP",
};

static const char de_cfg[64][BIT_NAME_LEN] = {
	[1] = "LFENCE_SERIALIZE",
	[9] = "ZEN2_FP_BACKUP_FIX",
};

static const char hwcr[64][BIT_NAME_LEN] = {
	[3] = "TLBCACHEDIS",	  [6] = "FFDIS",
	[8] = "IGNNE_EM",	  [18] = "MCSTATUS_WREN",
	[24] = "TSC_FREQ_SELECT", [25] = "CPB_DISABLE",
	[30] = "IRPERF_ENABLE",	  [35] = "CPUID_USER_DISABLE",
};

static const char perf_capabilities[64][BIT_NAME_LEN] = {
	[6] = "PEBS_TRAP",	   [7] = "PEBS_ARCH_REGS", [12] = "SMM_FREEZE",
	[13] = "FULL_WIDTH_WRITE", [14] = "PEBS_BASELINE", [15] = "PERF_METRICS",
	[16] = "PEBS_OUTPUT_PT",
};

static const char mcg_cap[64][BIT_NAME_LEN] = {
	[8] = "MCG_CTL",  [9] = "MCG_EXT",  [10] = "MCG_CMCI", [11] = "MCG_TES",
	[24] = "MCG_SER", [25] = "MCG_EMC", [26] = "MCG_ELOG", [27] = "MCG_LMCE",
};

enum bits {
	NO_BITS,
	BITS_ARCH_CAPABILITIES,
	BITS_CORE_CAPABILITIES,
	BITS_PLATFORM_INFO,
	BITS_SPEC_CTRL,
	BITS_FEATURE_CONTROL,
	BITS_TSX_CTRL,
	BITS_MCU_OPT_CTRL,
	BITS_MISC_ENABLE,
	BITS_MISC_FEATURES_ENABLES,
	BITS_EFER,
	BITS_XSS,
	BITS_DE_CFG,
	BITS_HWCR,
	BITS_PERF_CAPABILITIES,
	BITS_MCG_CAP,
};

static const char (*const bits_of[])[BIT_NAME_LEN] = {
	[BITS_ARCH_CAPABILITIES] = arch_capabilities,
	[BITS_CORE_CAPABILITIES] = core_capabilities,
	[BITS_PLATFORM_INFO] = platform_info,
	[BITS_SPEC_CTRL] = spec_ctrl,
	[BITS_FEATURE_CONTROL] = feature_control,
	[BITS_TSX_CTRL] = tsx_ctrl,
	[BITS_MCU_OPT_CTRL] = mcu_opt_ctrl,
	[BITS_MISC_ENABLE] = misc_enable,
	[BITS_MISC_FEATURES_ENABLES] = misc_features_enables,
	[BITS_EFER] = efer,
	[BITS_XSS] = xss,
	[BITS_DE_CFG] = de_cfg,
	[BITS_HWCR] = hwcr,
	[BITS_PERF_CAPABILITIES] = perf_capabilities,
	[BITS_MCG_CAP] = mcg_cap,
};

#define AND ARCH_RULE_AND
#define MIN ARCH_RULE_MIN
#define LEFT ARCH_RULE_LEFT
#define MACHINE ARCH_RULE_MACHINE /* what the guest itself sets, or squib */

/* By number. Those that are in no list are MACHINE. */
static const struct msr_name {
	uint32_t index;
	char name[NAME_LEN];
	enum arch_rule rule;
	enum bits bits; /* names of the 64; NO_BITS: the value is one number */
} names[] = {
	{0x10, "IA32_TSC", MACHINE, NO_BITS},
	{0x11, "MSR_KVM_WALL_CLOCK", MACHINE, NO_BITS},
	{0x12, "MSR_KVM_SYSTEM_TIME", MACHINE, NO_BITS},
	{0x17, "IA32_PLATFORM_ID", LEFT, NO_BITS},
	{0x1b, "IA32_APIC_BASE", MACHINE, NO_BITS},
	{0x2a, "MSR_EBL_CR_POWERON", MACHINE, NO_BITS},
	{0x33, "MSR_TEST_CTRL", MACHINE, NO_BITS},
	{0x34, "MSR_SMI_COUNT", MACHINE, NO_BITS},
	{0x3a, "IA32_FEATURE_CONTROL", MACHINE, BITS_FEATURE_CONTROL},
	{0x3b, "IA32_TSC_ADJUST", MACHINE, NO_BITS},
	{0x48, "IA32_SPEC_CTRL", MACHINE, BITS_SPEC_CTRL},
	{0x49, "IA32_PRED_CMD", MACHINE, NO_BITS},
	{0x79, "IA32_BIOS_UPDT_TRIG", MACHINE, NO_BITS},
	{0x8b, "IA32_BIOS_SIGN_ID", MIN, NO_BITS},
	{0x8c, "IA32_SGXLEPUBKEYHASH0", MACHINE, NO_BITS},
	{0x8d, "IA32_SGXLEPUBKEYHASH1", MACHINE, NO_BITS},
	{0x8e, "IA32_SGXLEPUBKEYHASH2", MACHINE, NO_BITS},
	{0x8f, "IA32_SGXLEPUBKEYHASH3", MACHINE, NO_BITS},
	{0x9e, "IA32_SMBASE", MACHINE, NO_BITS},
	{0xcd, "MSR_FSB_FREQ", LEFT, NO_BITS},
	{0xce, "MSR_PLATFORM_INFO", AND, BITS_PLATFORM_INFO},
	{0xcf, "IA32_CORE_CAPABILITIES", AND, BITS_CORE_CAPABILITIES},
	{0xe1, "IA32_UMWAIT_CONTROL", MACHINE, NO_BITS},
	{0xe2, "MSR_PKG_CST_CONFIG_CONTROL", MACHINE, NO_BITS},
	{0xe7, "IA32_MPERF", MACHINE, NO_BITS},
	{0xe8, "IA32_APERF", MACHINE, NO_BITS},
	{0xfe, "IA32_MTRRCAP", LEFT, NO_BITS},
	{0x10a, "IA32_ARCH_CAPABILITIES", AND, BITS_ARCH_CAPABILITIES},
	{0x10b, "IA32_FLUSH_CMD", MACHINE, NO_BITS},
	{0x11e, "MSR_BBL_CR_CTL3", MACHINE, NO_BITS},
	{0x122, "IA32_TSX_CTRL", MACHINE, BITS_TSX_CTRL},
	{0x123, "IA32_MCU_OPT_CTRL", MACHINE, BITS_MCU_OPT_CTRL},
	{0x140, "MSR_MISC_FEATURES_ENABLES", MACHINE, BITS_MISC_FEATURES_ENABLES},
	{0x174, "IA32_SYSENTER_CS", MACHINE, NO_BITS},
	{0x175, "IA32_SYSENTER_ESP", MACHINE, NO_BITS},
	{0x176, "IA32_SYSENTER_EIP", MACHINE, NO_BITS},
	{0x179, "IA32_MCG_CAP", LEFT, BITS_MCG_CAP},
	{0x17a, "IA32_MCG_STATUS", MACHINE, NO_BITS},
	{0x17b, "IA32_MCG_CTL", MACHINE, NO_BITS},
	{0x198, "IA32_PERF_STATUS", MACHINE, NO_BITS},
	{0x199, "IA32_PERF_CTL", MACHINE, NO_BITS},
	{0x19a, "IA32_CLOCK_MODULATION", MACHINE, NO_BITS},
	{0x19b, "IA32_THERM_INTERRUPT", MACHINE, NO_BITS},
	{0x19c, "IA32_THERM_STATUS", MACHINE, NO_BITS},
	{0x1a0, "IA32_MISC_ENABLE", MACHINE, BITS_MISC_ENABLE},
	{0x1a2, "MSR_TEMPERATURE_TARGET", LEFT, NO_BITS},
	{0x1a4, "MSR_MISC_FEATURE_CONTROL", MACHINE, NO_BITS},
	{0x1aa, "MSR_MISC_PWR_MGMT", MACHINE, NO_BITS},
	{0x1ad, "MSR_TURBO_RATIO_LIMIT", MACHINE, NO_BITS},
	{0x1b0, "IA32_ENERGY_PERF_BIAS", MACHINE, NO_BITS},
	{0x1c4, "IA32_XFD", MACHINE, NO_BITS},
	{0x1c5, "IA32_XFD_ERR", MACHINE, NO_BITS},
	{0x1d9, "IA32_DEBUGCTL", MACHINE, NO_BITS},
	{0x1db, "LASTBRANCHFROMIP", MACHINE, NO_BITS},
	{0x1dc, "LASTBRANCHTOIP", MACHINE, NO_BITS},
	{0x1dd, "LASTINTFROMIP", MACHINE, NO_BITS},
	{0x1de, "LASTINTTOIP", MACHINE, NO_BITS},
	{0x1fc, "MSR_POWER_CTL", MACHINE, NO_BITS},
	{0x277, "IA32_PAT", MACHINE, NO_BITS},
	{0x2ff, "IA32_MTRR_DEF_TYPE", MACHINE, NO_BITS},
	{0x345, "IA32_PERF_CAPABILITIES", LEFT, BITS_PERF_CAPABILITIES},
	{0x38d, "IA32_FIXED_CTR_CTRL", MACHINE, NO_BITS},
	{0x38e, "IA32_PERF_GLOBAL_STATUS", MACHINE, NO_BITS},
	{0x38f, "IA32_PERF_GLOBAL_CTRL", MACHINE, NO_BITS},
	{0x390, "IA32_PERF_GLOBAL_OVF_CTRL", MACHINE, NO_BITS},
	{0x3f1, "IA32_PEBS_ENABLE", MACHINE, NO_BITS},
	{0x3f2, "MSR_PEBS_DATA_CFG", MACHINE, NO_BITS},
	{0x480, "IA32_VMX_BASIC", LEFT, NO_BITS},
	{0x481, "IA32_VMX_PINBASED_CTLS", LEFT, NO_BITS},
	{0x482, "IA32_VMX_PROCBASED_CTLS", LEFT, NO_BITS},
	{0x483, "IA32_VMX_EXIT_CTLS", LEFT, NO_BITS},
	{0x484, "IA32_VMX_ENTRY_CTLS", LEFT, NO_BITS},
	{0x485, "IA32_VMX_MISC", LEFT, NO_BITS},
	{0x486, "IA32_VMX_CR0_FIXED0", LEFT, NO_BITS},
	{0x487, "IA32_VMX_CR0_FIXED1", LEFT, NO_BITS},
	{0x488, "IA32_VMX_CR4_FIXED0", LEFT, NO_BITS},
	{0x489, "IA32_VMX_CR4_FIXED1", LEFT, NO_BITS},
	{0x48a, "IA32_VMX_VMCS_ENUM", LEFT, NO_BITS},
	{0x48b, "IA32_VMX_PROCBASED_CTLS2", LEFT, NO_BITS},
	{0x48c, "IA32_VMX_EPT_VPID_CAP", LEFT, NO_BITS},
	{0x48d, "IA32_VMX_TRUE_PINBASED_CTLS", LEFT, NO_BITS},
	{0x48e, "IA32_VMX_TRUE_PROCBASED_CTLS", LEFT, NO_BITS},
	{0x48f, "IA32_VMX_TRUE_EXIT_CTLS", LEFT, NO_BITS},
	{0x490, "IA32_VMX_TRUE_ENTRY_CTLS", LEFT, NO_BITS},
	{0x491, "IA32_VMX_VMFUNC", LEFT, NO_BITS},
	{0x492, "IA32_VMX_PROCBASED_CTLS3", LEFT, NO_BITS},
	{0x493, "IA32_VMX_EXIT_CTLS2", LEFT, NO_BITS},
	{0x4d0, "IA32_MCG_EXT_CTL", MACHINE, NO_BITS},
	{0x570, "IA32_RTIT_CTL", MACHINE, NO_BITS},
	{0x571, "IA32_RTIT_STATUS", MACHINE, NO_BITS},
	{0x572, "IA32_RTIT_CR3_MATCH", MACHINE, NO_BITS},
	{0x600, "IA32_DS_AREA", MACHINE, NO_BITS},
	{0x606, "MSR_RAPL_POWER_UNIT", LEFT, NO_BITS},
	{0x6a0, "IA32_U_CET", MACHINE, NO_BITS},
	{0x6a2, "IA32_S_CET", MACHINE, NO_BITS},
	{0x6a4, "IA32_PL0_SSP", MACHINE, NO_BITS},
	{0x6a5, "IA32_PL1_SSP", MACHINE, NO_BITS},
	{0x6a6, "IA32_PL2_SSP", MACHINE, NO_BITS},
	{0x6a7, "IA32_PL3_SSP", MACHINE, NO_BITS},
	{0x6a8, "IA32_INTERRUPT_SSP_TABLE_ADDR", MACHINE, NO_BITS},
	{0x6e0, "IA32_TSC_DEADLINE", MACHINE, NO_BITS},
	{0x7a3, "IA32_MCU_EXT_SERVICE", MACHINE, NO_BITS},
	{0xd90, "IA32_BNDCFGS", MACHINE, NO_BITS},
	{0xda0, "IA32_XSS", MACHINE, BITS_XSS},
	{0x4b564d00, "MSR_KVM_WALL_CLOCK_NEW", MACHINE, NO_BITS},
	{0x4b564d01, "MSR_KVM_SYSTEM_TIME_NEW", MACHINE, NO_BITS},
	{0x4b564d02, "MSR_KVM_ASYNC_PF_EN", MACHINE, NO_BITS},
	{0x4b564d03, "MSR_KVM_STEAL_TIME", MACHINE, NO_BITS},
	{0x4b564d04, "MSR_KVM_PV_EOI_EN", MACHINE, NO_BITS},
	{0x4b564d05, "MSR_KVM_POLL_CONTROL", MACHINE, NO_BITS},
	{0x4b564d06, "MSR_KVM_ASYNC_PF_INT", MACHINE, NO_BITS},
	{0x4b564d07, "MSR_KVM_ASYNC_PF_ACK", MACHINE, NO_BITS},
	{0x4b564d08, "MSR_KVM_MIGRATION_CONTROL", MACHINE, NO_BITS},
	{0xc0000080, "IA32_EFER", MACHINE, BITS_EFER},
	{0xc0000081, "IA32_STAR", MACHINE, NO_BITS},
	{0xc0000082, "IA32_LSTAR", MACHINE, NO_BITS},
	{0xc0000083, "IA32_CSTAR", MACHINE, NO_BITS},
	{0xc0000084, "IA32_FMASK", MACHINE, NO_BITS},
	{0xc0000100, "IA32_FS_BASE", MACHINE, NO_BITS},
	{0xc0000101, "IA32_GS_BASE", MACHINE, NO_BITS},
	{0xc0000102, "IA32_KERNEL_GS_BASE", MACHINE, NO_BITS},
	{0xc0000103, "IA32_TSC_AUX", MACHINE, NO_BITS},
	{0xc0000104, "MSR_AMD64_TSC_RATIO", MACHINE, NO_BITS},
	{0xc0000300, "MSR_AMD64_PERF_CNTR_GLOBAL_STATUS", MACHINE, NO_BITS},
	{0xc0000301, "MSR_AMD64_PERF_CNTR_GLOBAL_CTL", MACHINE, NO_BITS},
	{0xc0000302, "MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_CLR", MACHINE, NO_BITS},
	{0xc0010010, "MSR_AMD64_SYSCFG", MACHINE, NO_BITS},
	{0xc0010015, "MSR_K7_HWCR", MACHINE, BITS_HWCR},
	{0xc0010058, "MSR_FAM10H_MMIO_CONF_BASE", MACHINE, NO_BITS},
	{0xc0010114, "MSR_VM_CR", MACHINE, NO_BITS},
	{0xc0010115, "MSR_VM_IGNNE", MACHINE, NO_BITS},
	{0xc0010117, "MSR_VM_HSAVE_PA", MACHINE, NO_BITS},
	{0xc001011f, "MSR_AMD64_VIRT_SPEC_CTRL", MACHINE, NO_BITS},
	{0xc0010131, "MSR_AMD64_SEV", MACHINE, NO_BITS},
	{0xc0010140, "MSR_AMD64_OSVW_ID_LENGTH", MACHINE, NO_BITS},
	{0xc0010141, "MSR_AMD64_OSVW_STATUS", MACHINE, NO_BITS},
	{0xc0011020, "MSR_AMD64_LS_CFG", MACHINE, NO_BITS},
	{0xc0011029, "MSR_AMD64_DE_CFG", MACHINE, BITS_DE_CFG},
	{0xc001102a, "MSR_AMD64_BU_CFG2", MACHINE, NO_BITS},
	{0xc001102e, "MSR_AMD64_BP_CFG", MACHINE, NO_BITS},
};

/* Registers that are many of a kind: IA32_MC0_CTL, IA32_MC0_STATUS... IA32_MC1_CTL. */
static const struct {
	uint32_t first;
	uint32_t last;
	char names[4][BIT_NAME_LEN]; /* with the place of the number as #, counted from 0 */
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
		unsigned kinds = 1; /* each range has one name at least */

		while (kinds < ARRAY_COUNT(ranges[i].names) && ranges[i].names[kinds][0] != '\0') {
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

	if (found == NULL || found->bits == NO_BITS) {
		return (struct arch_field){.width = 64,
					   .rule = found != NULL ? found->rule : MACHINE};
	}
	const char *name = bits_of[found->bits][bit];
	const bool is_fault =
		found->bits == BITS_ARCH_CAPABILITIES && (ARCH_CAPABILITIES_FAULTS >> bit & 1) != 0;

	return (struct arch_field){.shift = bit,
				   .width = 1,
				   .name = name[0] != '\0' ? name : NULL,
				   .rule = is_fault ? ARCH_RULE_OR : found->rule};
}
