/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bits of CPUID that tell features, by name.
 *
 * The names are those of [intel-sdm vol. 2, CPUID] and [amd-apm vol. 3, appendix E], where a user
 * can look them up, and for KVM's own leaf those of the kernel's
 * Documentation/virt/kvm/x86/cpuid.rst. Leaves of which cpuid_allow.c lets no feature pass are left
 * out.
 */
#include "cpuid_features.h"

#include "vmm/base/bytes.h"

#define BIT(n) (UINT32_C(1) << (n))

/* Ignored: cpuid_features.ignored says why. */
#define MWAIT BIT(3)	     /* of leaf 1 ECX: KVM sets it by IA32_MISC_ENABLE */
#define TSC_DEADLINE BIT(24) /* KVM's local APIC has it */
#define OSXSAVE BIT(27)	     /* KVM sets it by CR4 */
#define HYPERVISOR BIT(31)
#define HTT BIT(28) /* of leaf 1 EDX: a number of processors */
#define FDP_EXCPTN_ONLY BIT(6)
#define ZERO_FCS_FDS BIT(13)
#define OSPKE BIT(4)		     /* of leaf 7 ECX: KVM sets it by CR4 */
#define TOPOEXT BIT(22)		     /* of leaf 0x80000001 ECX: the topology is the guest's own */
#define AVX10_VERSION UINT32_C(0xff) /* a number, compared as such */

static const char *const leaf_1_ecx[32] = {
	[0] = "SSE3",	 [1] = "PCLMULQDQ", [2] = "DTES64",	 [3] = "MONITOR",
	[4] = "DS-CPL",	 [5] = "VMX",	    [6] = "SMX",	 [7] = "EIST",
	[8] = "TM2",	 [9] = "SSSE3",	    [10] = "CNXT-ID",	 [11] = "SDBG",
	[12] = "FMA",	 [13] = "CX16",	    [14] = "xTPR",	 [15] = "PDCM",
	[17] = "PCID",	 [18] = "DCA",	    [19] = "SSE4_1",	 [20] = "SSE4_2",
	[21] = "X2APIC", [22] = "MOVBE",    [23] = "POPCNT",	 [24] = "TSC-DEADLINE",
	[25] = "AES",	 [26] = "XSAVE",    [27] = "OSXSAVE",	 [28] = "AVX",
	[29] = "F16C",	 [30] = "RDRAND",   [31] = "HYPERVISOR",
};

static const char *const leaf_1_edx[32] = {
	[0] = "FPU",	[1] = "VME",  [2] = "DE",    [3] = "PSE",  [4] = "TSC",	   [5] = "MSR",
	[6] = "PAE",	[7] = "MCE",  [8] = "CX8",   [9] = "APIC", [11] = "SEP",   [12] = "MTRR",
	[13] = "PGE",	[14] = "MCA", [15] = "CMOV", [16] = "PAT", [17] = "PSE36", [18] = "PSN",
	[19] = "CLFSH", [21] = "DS",  [22] = "ACPI", [23] = "MMX", [24] = "FXSR",  [25] = "SSE",
	[26] = "SSE2",	[27] = "SS",  [28] = "HTT",  [29] = "TM",  [31] = "PBE",
};

static const char *const leaf_6_eax[32] = {
	[2] = "ARAT",
};

static const char *const leaf_7_ebx[32] = {
	[0] = "FSGSBASE",
	[1] = "TSC_ADJUST",
	[2] = "SGX",
	[3] = "BMI1",
	[4] = "HLE",
	[5] = "AVX2",
	[6] = "FDP_EXCPTN_ONLY",
	[7] = "SMEP",
	[8] = "BMI2",
	[9] = "ERMS",
	[10] = "INVPCID",
	[11] = "RTM",
	[12] = "RDT-M",
	[13] = "ZERO_FCS_FDS",
	[14] = "MPX",
	[15] = "RDT-A",
	[16] = "AVX512F",
	[17] = "AVX512DQ",
	[18] = "RDSEED",
	[19] = "ADX",
	[20] = "SMAP",
	[21] = "AVX512_IFMA",
	[23] = "CLFLUSHOPT",
	[24] = "CLWB",
	[25] = "INTEL_PT",
	[26] = "AVX512PF",
	[27] = "AVX512ER",
	[28] = "AVX512CD",
	[29] = "SHA",
	[30] = "AVX512BW",
	[31] = "AVX512VL",
};

static const char *const leaf_7_ecx[32] = {
	[0] = "PREFETCHWT1",
	[1] = "AVX512_VBMI",
	[2] = "UMIP",
	[3] = "PKU",
	[4] = "OSPKE",
	[5] = "WAITPKG",
	[6] = "AVX512_VBMI2",
	[7] = "CET_SS",
	[8] = "GFNI",
	[9] = "VAES",
	[10] = "VPCLMULQDQ",
	[11] = "AVX512_VNNI",
	[12] = "AVX512_BITALG",
	[13] = "TME_EN",
	[14] = "AVX512_VPOPCNTDQ",
	[16] = "LA57",
	[22] = "RDPID",
	[23] = "KL",
	[24] = "BUS_LOCK_DETECT",
	[25] = "CLDEMOTE",
	[27] = "MOVDIRI",
	[28] = "MOVDIR64B",
	[29] = "ENQCMD",
	[30] = "SGX_LC",
	[31] = "PKS",
};

static const char *const leaf_7_edx[32] = {
	[1] = "SGX-KEYS",
	[2] = "AVX512_4VNNIW",
	[3] = "AVX512_4FMAPS",
	[4] = "FSRM",
	[5] = "UINTR",
	[8] = "AVX512_VP2INTERSECT",
	[9] = "SRBDS_CTRL",
	[10] = "MD_CLEAR",
	[11] = "RTM_ALWAYS_ABORT",
	[13] = "TSX_FORCE_ABORT",
	[14] = "SERIALIZE",
	[15] = "HYBRID",
	[16] = "TSXLDTRK",
	[18] = "PCONFIG",
	[19] = "ARCH_LBR",
	[20] = "CET_IBT",
	[22] = "AMX-BF16",
	[23] = "AVX512_FP16",
	[24] = "AMX-TILE",
	[25] = "AMX-INT8",
	[26] = "SPEC_CTRL",
	[27] = "STIBP",
	[28] = "L1D_FLUSH",
	[29] = "ARCH_CAPABILITIES",
	[30] = "CORE_CAPABILITIES",
	[31] = "SSBD",
};

static const char *const leaf_7_1_eax[32] = {
	[0] = "SHA512",		[1] = "SM3",	       [2] = "SM4",	  [3] = "RAO-INT",
	[4] = "AVX-VNNI",	[5] = "AVX512_BF16",   [6] = "LASS",	  [7] = "CMPCCXADD",
	[8] = "ARCHPERFMONEXT", [10] = "FZRM",	       [11] = "FSRS",	  [12] = "FSRCS",
	[17] = "FRED",		[18] = "LKGS",	       [19] = "WRMSRNS",  [20] = "NMI_SRC",
	[21] = "AMX-FP16",	[22] = "HRESET",       [23] = "AVX-IFMA", [26] = "LAM",
	[27] = "MSRLIST",	[30] = "INVD_DISABLE",
};

static const char *const leaf_7_1_ebx[32] = {
	[0] = "PPIN",
	[1] = "PBNDKB",
};

static const char *const leaf_7_1_ecx[32] = {
	[5] = "MSR_IMM",
};

static const char *const leaf_7_1_edx[32] = {
	[4] = "AVX-VNNI-INT8",	 [5] = "AVX-NE-CONVERT", [8] = "AMX-COMPLEX",
	[10] = "AVX-VNNI-INT16", [14] = "PREFETCHI",	 [17] = "UIRET_UIF",
	[18] = "CET_SSS",	 [19] = "AVX10",	 [21] = "APX_F",
};

static const char *const leaf_7_2_edx[32] = {
	[0] = "PSFD",	  [1] = "IPRED_CTRL", [2] = "RRSBA_CTRL",      [3] = "DDPD_U",
	[4] = "BHI_CTRL", [5] = "MCDT_NO",    [6] = "UC_LOCK_DISABLE", [7] = "MONITOR_MITG_NO",
};

static const char *const leaf_d_eax[32] = {
	[0] = "XCR0.X87",    [1] = "XCR0.SSE",	    [2] = "XCR0.AVX",	    [3] = "XCR0.BNDREGS",
	[4] = "XCR0.BNDCSR", [5] = "XCR0.OPMASK",   [6] = "XCR0.ZMM_Hi256", [7] = "XCR0.Hi16_ZMM",
	[9] = "XCR0.PKRU",   [17] = "XCR0.TILECFG", [18] = "XCR0.TILEDATA", [19] = "XCR0.APX",
};

static const char *const leaf_d_edx[32] = {
	[30] = "XCR0.LWP",
};

static const char *const leaf_d_1_eax[32] = {
	[0] = "XSAVEOPT", [1] = "XSAVEC", [2] = "XGETBV_ECX1", [3] = "XSAVES", [4] = "XFD",
};

static const char *const leaf_d_1_ecx[32] = {
	[8] = "XSS.PT",	  [10] = "XSS.PASID", [11] = "XSS.CET_U", [12] = "XSS.CET_S",
	[13] = "XSS.HDC", [14] = "XSS.UINTR", [15] = "XSS.LBR",	  [16] = "XSS.HWP",
};

static const char *const leaf_24_ebx[32] = {
	[16] = "AVX10/128",
	[17] = "AVX10/256",
	[18] = "AVX10/512",
};

static const char *const kvm_eax[32] = {
	[0] = "KVM_CLOCKSOURCE",
	[1] = "KVM_NOP_IO_DELAY",
	[2] = "KVM_MMU_OP",
	[3] = "KVM_CLOCKSOURCE2",
	[4] = "KVM_ASYNC_PF",
	[5] = "KVM_STEAL_TIME",
	[6] = "KVM_PV_EOI",
	[7] = "KVM_PV_UNHALT",
	[9] = "KVM_PV_TLB_FLUSH",
	[10] = "KVM_ASYNC_PF_VMEXIT",
	[11] = "KVM_PV_SEND_IPI",
	[12] = "KVM_POLL_CONTROL",
	[13] = "KVM_PV_SCHED_YIELD",
	[14] = "KVM_ASYNC_PF_INT",
	[15] = "KVM_MSI_EXT_DEST_ID",
	[16] = "KVM_HC_MAP_GPA_RANGE",
	[17] = "KVM_MIGRATION_CONTROL",
	[24] = "KVM_CLOCKSOURCE_STABLE",
};

static const char *const leaf_80000001_ecx[32] = {
	[0] = "LAHF_LM",       [1] = "CMP_LEGACY",  [2] = "SVM",	[3] = "EXTAPIC",
	[4] = "CR8_LEGACY",    [5] = "ABM",	    [6] = "SSE4A",	[7] = "MISALIGNSSE",
	[8] = "3DNOWPREFETCH", [9] = "OSVW",	    [10] = "IBS",	[11] = "XOP",
	[12] = "SKINIT",       [13] = "WDT",	    [15] = "LWP",	[16] = "FMA4",
	[17] = "TCE",	       [19] = "NODEID_MSR", [21] = "TBM",	[22] = "TOPOEXT",
	[23] = "PERFCTR_CORE", [24] = "PERFCTR_NB", [26] = "BPEXT",	[27] = "PTSC",
	[28] = "PERFCTR_LLC",  [29] = "MWAITX",	    [30] = "ADMSK_EXT",
};

static const char *const leaf_80000001_edx[32] = {
	[0] = "FPU",	  [1] = "VME",	     [2] = "DE",     [3] = "PSE",      [4] = "TSC",
	[5] = "MSR",	  [6] = "PAE",	     [7] = "MCE",    [8] = "CX8",      [9] = "APIC",
	[11] = "SYSCALL", [12] = "MTRR",     [13] = "PGE",   [14] = "MCA",     [15] = "CMOV",
	[16] = "PAT",	  [17] = "PSE36",    [19] = "MP",    [20] = "NX",      [22] = "MMXEXT",
	[23] = "MMX",	  [24] = "FXSR",     [25] = "FFXSR", [26] = "PDPE1GB", [27] = "RDTSCP",
	[29] = "LM",	  [30] = "3DNOWEXT", [31] = "3DNOW",
};

static const char *const leaf_80000007_ebx[32] = {
	[0] = "OVERFLOW_RECOV",
	[1] = "SUCCOR",
	[2] = "HWA",
	[3] = "SMCA",
};

static const char *const leaf_80000007_edx[32] = {
	[0] = "TS",  [1] = "FID",	  [2] = "VID",		 [3] = "TTP",
	[4] = "TM",  [6] = "100MHZSTEPS", [7] = "HWPSTATE",	 [8] = "INVARIANT_TSC",
	[9] = "CPB", [10] = "EFFFREQRO",  [11] = "PROCFEEDBACK", [12] = "ACC_POWER",
};

static const char *const leaf_80000008_ebx[32] = {
	[0] = "CLZERO",
	[1] = "IRPERF",
	[2] = "XSAVEERPTR",
	[3] = "INVLPGB",
	[4] = "RDPRU",
	[6] = "MBE",
	[8] = "MCOMMIT",
	[9] = "WBNOINVD",
	[12] = "AMD_IBPB",
	[13] = "INT_WBINVD",
	[14] = "AMD_IBRS",
	[15] = "AMD_STIBP",
	[16] = "IBRS_ALWAYS_ON",
	[17] = "STIBP_ALWAYS_ON",
	[18] = "IBRS_PREFERRED",
	[19] = "IBRS_SAME_MODE",
	[20] = "EFER_LMSLE_NO",
	[21] = "INVLPGB_NESTED",
	[23] = "PPIN",
	[24] = "AMD_SSBD",
	[25] = "VIRT_SSBD",
	[26] = "SSB_NO",
	[27] = "CPPC",
	[28] = "AMD_PSFD",
	[29] = "BTC_NO",
	[30] = "IBPB_RET",
	[31] = "BRS",
};

static const char *const leaf_80000021_eax[32] = {
	[0] = "NO_NESTED_DATA_BP",
	[1] = "FSGS_NON_SERIALIZING",
	[2] = "LFENCE_SERIALIZING",
	[3] = "SMM_PG_CFG_LOCK",
	[5] = "VERW_CLEAR",
	[6] = "NULL_SEL_CLEARS_BASE",
	[7] = "UPPER_ADDRESS_IGNORE",
	[8] = "AUTOMATIC_IBRS",
	[9] = "NO_SMM_CTL_MSR",
	[10] = "FSRS",
	[11] = "FSRC",
	[13] = "PREFETCH_CTL_MSR",
	[17] = "CPUID_USER_DIS",
	[18] = "EPSF",
	[20] = "PREFETCHI",
	[24] = "ERAPS",
	[27] = "SBPB",
	[28] = "IBPB_BRTYPE",
	[29] = "SRSO_NO",
	[30] = "SRSO_USER_KERNEL_NO",
	[31] = "SRSO_MSR_FIX",
};

static const char *const leaf_80000021_ecx[32] = {
	[1] = "TSA_SQ_NO",
	[2] = "TSA_L1_NO",
};

static const char *const no_names[32];

const struct cpuid_features cpuid_features[] = {
	{0x1, 0, CPUID_ECX, MWAIT | TSC_DEADLINE | OSXSAVE | HYPERVISOR, false, leaf_1_ecx},
	{0x1, 0, CPUID_EDX, HTT, false, leaf_1_edx},
	{0x6, 0, CPUID_EAX, 0, false, leaf_6_eax},
	{0x7, 0, CPUID_EBX, FDP_EXCPTN_ONLY | ZERO_FCS_FDS, true, leaf_7_ebx},
	{0x7, 0, CPUID_ECX, OSPKE, true, leaf_7_ecx},
	{0x7, 0, CPUID_EDX, 0, true, leaf_7_edx},
	{0x7, 1, CPUID_EAX, 0, true, leaf_7_1_eax},
	{0x7, 1, CPUID_EBX, 0, true, leaf_7_1_ebx},
	{0x7, 1, CPUID_ECX, 0, true, leaf_7_1_ecx},
	{0x7, 1, CPUID_EDX, 0, true, leaf_7_1_edx},
	{0x7, 2, CPUID_EDX, 0, true, leaf_7_2_edx},
	{0xd, 0, CPUID_EAX, 0, true, leaf_d_eax},
	{0xd, 0, CPUID_EDX, 0, true, leaf_d_edx},
	{0xd, 1, CPUID_EAX, 0, true, leaf_d_1_eax},
	{0xd, 1, CPUID_ECX, 0, true, leaf_d_1_ecx},
	{0xd, 1, CPUID_EDX, 0, true, no_names},
	{0x24, 0, CPUID_EBX, AVX10_VERSION, true, leaf_24_ebx},
	{0x40000001, 0, CPUID_EAX, 0, false, kvm_eax},
	{0x80000001, 0, CPUID_ECX, TOPOEXT, false, leaf_80000001_ecx},
	{0x80000001, 0, CPUID_EDX, 0, false, leaf_80000001_edx},
	{0x80000007, 0, CPUID_EBX, 0, false, leaf_80000007_ebx},
	{0x80000007, 0, CPUID_EDX, 0, false, leaf_80000007_edx},
	{0x80000008, 0, CPUID_EBX, 0, false, leaf_80000008_ebx},
	{0x80000021, 0, CPUID_EAX, 0, false, leaf_80000021_eax},
	{0x80000021, 0, CPUID_ECX, 0, false, leaf_80000021_ecx},
};

const size_t cpuid_feature_count = ARRAY_COUNT(cpuid_features);
