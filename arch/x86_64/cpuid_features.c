/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bits of CPUID mean.
 *
 * Theory of operation. A register of a leaf has features, a bit each, or fields: numbers and names
 * of several bits. Where both tables have a bit, it is the field's. A register that neither has is
 * one field without a name.
 *
 * The names are those of [intel-sdm vol. 2, CPUID] and [amd-apm vol. 3, appendix E], where a user
 * can look them up, and for KVM's own leaves those of the kernel's
 * Documentation/virt/kvm/x86/cpuid.rst. No guest has a feature of some of these leaves without a
 * template (cpuid_allow.c).
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
#define RTM_ALWAYS_ABORT BIT(11) /* of leaf 7 EDX */
#define PT_LIP BIT(31)
#define OSPKE BIT(4)		     /* of leaf 7 ECX: KVM sets it by CR4 */
#define TOPOEXT BIT(22)		     /* of leaf 0x80000001 ECX: the topology is the guest's own */
#define AVX10_VERSION UINT32_C(0xff) /* a number, compared as such */
#define NONE_IS_LACKING                                                                            \
	UINT32_MAX /* hints, and details of features that have bits of their own                   \
		    */

static const char leaf_1_ecx[32][CPUID_NAME_LEN] = {
	[0] = "SSE3",	 [1] = "PCLMULQDQ", [2] = "DTES64",	 [3] = "MONITOR",
	[4] = "DS-CPL",	 [5] = "VMX",	    [6] = "SMX",	 [7] = "EIST",
	[8] = "TM2",	 [9] = "SSSE3",	    [10] = "CNXT-ID",	 [11] = "SDBG",
	[12] = "FMA",	 [13] = "CX16",	    [14] = "xTPR",	 [15] = "PDCM",
	[17] = "PCID",	 [18] = "DCA",	    [19] = "SSE4_1",	 [20] = "SSE4_2",
	[21] = "X2APIC", [22] = "MOVBE",    [23] = "POPCNT",	 [24] = "TSC-DEADLINE",
	[25] = "AES",	 [26] = "XSAVE",    [27] = "OSXSAVE",	 [28] = "AVX",
	[29] = "F16C",	 [30] = "RDRAND",   [31] = "HYPERVISOR",
};

static const char leaf_1_edx[32][CPUID_NAME_LEN] = {
	[0] = "FPU",	[1] = "VME",  [2] = "DE",    [3] = "PSE",  [4] = "TSC",	   [5] = "MSR",
	[6] = "PAE",	[7] = "MCE",  [8] = "CX8",   [9] = "APIC", [11] = "SEP",   [12] = "MTRR",
	[13] = "PGE",	[14] = "MCA", [15] = "CMOV", [16] = "PAT", [17] = "PSE36", [18] = "PSN",
	[19] = "CLFSH", [21] = "DS",  [22] = "ACPI", [23] = "MMX", [24] = "FXSR",  [25] = "SSE",
	[26] = "SSE2",	[27] = "SS",  [28] = "HTT",  [29] = "TM",  [31] = "PBE",
};

static const char leaf_5_ecx[32][CPUID_NAME_LEN] = {
	[0] = "EMX",
	[1] = "IBE",
	[3] = "MONITORLESS_MWAIT",
};

static const char leaf_6_eax[32][CPUID_NAME_LEN] = {
	[0] = "DTS",
	[1] = "TURBO_BOOST",
	[2] = "ARAT",
	[4] = "PLN",
	[5] = "ECMD",
	[6] = "PTM",
	[7] = "HWP",
	[8] = "HWP_NOTIFICATION",
	[9] = "HWP_ACTIVITY_WINDOW",
	[10] = "HWP_EPP",
	[11] = "HWP_PACKAGE",
	[13] = "HDC",
	[14] = "TURBO_BOOST_MAX_3",
	[15] = "HWP_CAPABILITIES",
	[16] = "HWP_PECI",
	[17] = "FLEXIBLE_HWP",
	[18] = "HWP_REQUEST_FAST",
	[19] = "HFI",
	[20] = "HWP_IGNORE_IDLE",
	[22] = "HWP_CTL",
	[23] = "THREAD_DIRECTOR",
	[24] = "THERM_INTERRUPT_HFI",
};

static const char leaf_6_ecx[32][CPUID_NAME_LEN] = {
	[0] = "APERFMPERF",
	[3] = "EPB",
};

static const char leaf_7_ebx[32][CPUID_NAME_LEN] = {
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
	[22] = "PCOMMIT",
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

static const char leaf_7_ecx[32][CPUID_NAME_LEN] = {
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

static const char leaf_7_edx[32][CPUID_NAME_LEN] = {
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

static const char leaf_7_1_eax[32][CPUID_NAME_LEN] = {
	[0] = "SHA512",		[1] = "SM3",	       [2] = "SM4",	  [3] = "RAO-INT",
	[4] = "AVX-VNNI",	[5] = "AVX512_BF16",   [6] = "LASS",	  [7] = "CMPCCXADD",
	[8] = "ARCHPERFMONEXT", [10] = "FZRM",	       [11] = "FSRS",	  [12] = "FSRCS",
	[17] = "FRED",		[18] = "LKGS",	       [19] = "WRMSRNS",  [20] = "NMI_SRC",
	[21] = "AMX-FP16",	[22] = "HRESET",       [23] = "AVX-IFMA", [26] = "LAM",
	[27] = "MSRLIST",	[30] = "INVD_DISABLE", [31] = "MOVRS",
};

static const char leaf_7_1_ebx[32][CPUID_NAME_LEN] = {
	[0] = "PPIN",
	[1] = "PBNDKB",
	[3] = "CPUIDMAXVAL_LIM_RMV",
};

static const char leaf_7_1_ecx[32][CPUID_NAME_LEN] = {
	[5] = "MSR_IMM",
};

static const char leaf_7_1_edx[32][CPUID_NAME_LEN] = {
	[4] = "AVX-VNNI-INT8", [5] = "AVX-NE-CONVERT", [8] = "AMX-COMPLEX", [10] = "AVX-VNNI-INT16",
	[13] = "UTMR",	       [14] = "PREFETCHI",     [15] = "USER_MSR",   [17] = "UIRET_UIF",
	[18] = "CET_SSS",      [19] = "AVX10",	       [21] = "APX_F",	    [23] = "MWAIT",
};

static const char leaf_7_2_edx[32][CPUID_NAME_LEN] = {
	[0] = "PSFD",	  [1] = "IPRED_CTRL", [2] = "RRSBA_CTRL",      [3] = "DDPD_U",
	[4] = "BHI_CTRL", [5] = "MCDT_NO",    [6] = "UC_LOCK_DISABLE", [7] = "MONITOR_MITG_NO",
};

/* Set bits are events that can't be counted. */
static const char leaf_a_ebx[32][CPUID_NAME_LEN] = {
	[0] = "NO_CORE_CYCLES",	   [1] = "NO_INSTRUCTIONS",  [2] = "NO_REFERENCE_CYCLES",
	[3] = "NO_LLC_REFERENCES", [4] = "NO_LLC_MISSES",    [5] = "NO_BRANCHES",
	[6] = "NO_BRANCH_MISSES",  [7] = "NO_TOPDOWN_SLOTS",
};

static const char leaf_d_eax[32][CPUID_NAME_LEN] = {
	[0] = "XCR0.X87",    [1] = "XCR0.SSE",	    [2] = "XCR0.AVX",	    [3] = "XCR0.BNDREGS",
	[4] = "XCR0.BNDCSR", [5] = "XCR0.OPMASK",   [6] = "XCR0.ZMM_Hi256", [7] = "XCR0.Hi16_ZMM",
	[9] = "XCR0.PKRU",   [17] = "XCR0.TILECFG", [18] = "XCR0.TILEDATA", [19] = "XCR0.APX",
};

static const char leaf_d_edx[32][CPUID_NAME_LEN] = {
	[30] = "XCR0.LWP",
};

static const char leaf_d_1_eax[32][CPUID_NAME_LEN] = {
	[0] = "XSAVEOPT", [1] = "XSAVEC", [2] = "XGETBV_ECX1", [3] = "XSAVES", [4] = "XFD",
};

static const char leaf_d_1_ecx[32][CPUID_NAME_LEN] = {
	[8] = "XSS.PT",	  [10] = "XSS.PASID", [11] = "XSS.CET_U", [12] = "XSS.CET_S",
	[13] = "XSS.HDC", [14] = "XSS.UINTR", [15] = "XSS.LBR",	  [16] = "XSS.HWP",
};

static const char leaf_f_edx[32][CPUID_NAME_LEN] = {
	[1] = "L3_MONITORING",
};

static const char leaf_f_1_edx[32][CPUID_NAME_LEN] = {
	[0] = "L3_OCCUPANCY",
	[1] = "L3_TOTAL_BANDWIDTH",
	[2] = "L3_LOCAL_BANDWIDTH",
};

static const char leaf_10_ebx[32][CPUID_NAME_LEN] = {
	[1] = "L3_CAT",
	[2] = "L2_CAT",
	[3] = "MBA",
};

static const char leaf_12_eax[32][CPUID_NAME_LEN] = {
	[0] = "SGX1",
	[1] = "SGX2",
	[5] = "SGX_ENCLV",
	[6] = "SGX_ENCLS_ETRACKC",
	[7] = "SGX_EVERIFYREPORT2",
	[10] = "SGX_EUPDATESVN",
	[11] = "SGX_EDECCSSA",
};

static const char leaf_14_ebx[32][CPUID_NAME_LEN] = {
	[0] = "PT_CR3_FILTER",	     [1] = "PT_PSB",
	[2] = "PT_IP_FILTER",	     [3] = "PT_MTC",
	[4] = "PT_PTWRITE",	     [5] = "PT_POWER_EVENTS",
	[6] = "PT_PSB_PMI_PRESERVE", [7] = "PT_EVENT_TRACE",
	[8] = "PT_TNT_DISABLE",
};

static const char leaf_14_ecx[32][CPUID_NAME_LEN] = {
	[0] = "PT_TOPA",	 [1] = "PT_TOPA_ENTRIES",
	[2] = "PT_SINGLE_RANGE", [3] = "PT_TRACE_TRANSPORT",
	[31] = "PT_LIP",
};

static const char leaf_19_eax[32][CPUID_NAME_LEN] = {
	[0] = "KL_CPL0_ONLY",
	[1] = "KL_NO_ENCRYPT",
	[2] = "KL_NO_DECRYPT",
};

static const char leaf_19_ebx[32][CPUID_NAME_LEN] = {
	[0] = "AESKLE",
	[2] = "AES_WIDE_KL",
	[4] = "KL_BACKUP_MSRS",
};

static const char leaf_1c_ebx[32][CPUID_NAME_LEN] = {
	[0] = "LBR_CPL_FILTER",
	[1] = "LBR_BRANCH_FILTER",
	[2] = "LBR_CALL_STACK",
};

static const char leaf_1c_ecx[32][CPUID_NAME_LEN] = {
	[0] = "LBR_MISPREDICTS",
	[1] = "LBR_TIMES",
	[2] = "LBR_BRANCH_TYPES",
};

static const char leaf_1e_1_eax[32][CPUID_NAME_LEN] = {
	[0] = "AMX-INT8", [1] = "AMX-BF16",   [2] = "AMX-COMPLEX",
	[3] = "AMX-FP16", [4] = "AMX-FP8",    [5] = "AMX-TRANSPOSE",
	[6] = "AMX-TF32", [7] = "AMX-AVX512", [8] = "AMX-MOVRS",
};

static const char leaf_24_ebx[32][CPUID_NAME_LEN] = {
	[16] = "AVX10/128",
	[17] = "AVX10/256",
	[18] = "AVX10/512",
};

static const char kvm_eax[32][CPUID_NAME_LEN] = {
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

static const char kvm_edx[32][CPUID_NAME_LEN] = {
	[0] = "KVM_HINTS_REALTIME",
};

static const char leaf_80000001_ecx[32][CPUID_NAME_LEN] = {
	[0] = "LAHF_LM",       [1] = "CMP_LEGACY",  [2] = "SVM",	[3] = "EXTAPIC",
	[4] = "CR8_LEGACY",    [5] = "ABM",	    [6] = "SSE4A",	[7] = "MISALIGNSSE",
	[8] = "3DNOWPREFETCH", [9] = "OSVW",	    [10] = "IBS",	[11] = "XOP",
	[12] = "SKINIT",       [13] = "WDT",	    [15] = "LWP",	[16] = "FMA4",
	[17] = "TCE",	       [19] = "NODEID_MSR", [21] = "TBM",	[22] = "TOPOEXT",
	[23] = "PERFCTR_CORE", [24] = "PERFCTR_NB", [26] = "BPEXT",	[27] = "PTSC",
	[28] = "PERFCTR_LLC",  [29] = "MWAITX",	    [30] = "ADMSK_EXT",
};

static const char leaf_80000001_edx[32][CPUID_NAME_LEN] = {
	[0] = "FPU",	  [1] = "VME",	     [2] = "DE",     [3] = "PSE",      [4] = "TSC",
	[5] = "MSR",	  [6] = "PAE",	     [7] = "MCE",    [8] = "CX8",      [9] = "APIC",
	[11] = "SYSCALL", [12] = "MTRR",     [13] = "PGE",   [14] = "MCA",     [15] = "CMOV",
	[16] = "PAT",	  [17] = "PSE36",    [19] = "MP",    [20] = "NX",      [22] = "MMXEXT",
	[23] = "MMX",	  [24] = "FXSR",     [25] = "FFXSR", [26] = "PDPE1GB", [27] = "RDTSCP",
	[29] = "LM",	  [30] = "3DNOWEXT", [31] = "3DNOW",
};

static const char leaf_80000007_ebx[32][CPUID_NAME_LEN] = {
	[0] = "OVERFLOW_RECOV",
	[1] = "SUCCOR",
	[2] = "HWA",
	[3] = "SMCA",
};

static const char leaf_80000007_edx[32][CPUID_NAME_LEN] = {
	[0] = "TS",  [1] = "FID",	  [2] = "VID",		 [3] = "TTP",
	[4] = "TM",  [6] = "100MHZSTEPS", [7] = "HWPSTATE",	 [8] = "INVARIANT_TSC",
	[9] = "CPB", [10] = "EFFFREQRO",  [11] = "PROCFEEDBACK", [12] = "ACC_POWER",
};

static const char leaf_80000008_ebx[32][CPUID_NAME_LEN] = {
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

static const char leaf_8000000a_edx[32][CPUID_NAME_LEN] = {
	[0] = "SVM_NP",
	[1] = "SVM_LBRVIRT",
	[2] = "SVM_LOCK",
	[3] = "SVM_NRIPS",
	[4] = "SVM_TSCRATEMSR",
	[5] = "SVM_VMCBCLEAN",
	[6] = "SVM_FLUSHBYASID",
	[7] = "SVM_DECODEASSISTS",
	[10] = "SVM_PAUSEFILTER",
	[12] = "SVM_PAUSETHRESHOLD",
	[13] = "SVM_AVIC",
	[15] = "SVM_V_VMSAVE",
	[16] = "SVM_VGIF",
	[17] = "SVM_GMET",
	[18] = "SVM_X2AVIC",
	[19] = "SVM_SSSCHECK",
	[20] = "SVM_V_SPEC_CTRL",
	[21] = "SVM_ROGPT",
	[23] = "SVM_HOSTMCEOVERRIDE",
	[24] = "SVM_TLBICTL",
	[25] = "SVM_VNMI",
	[26] = "SVM_IBSVIRT",
	[27] = "SVM_EXTLVT_OFFSET_FAULT",
	[28] = "SVM_VMCBADDRCHK",
	[29] = "SVM_BUSLOCKTHRESHOLD",
	[30] = "SVM_IDLEHLTINTERCEPT",
};

static const char leaf_8000001a_eax[32][CPUID_NAME_LEN] = {
	[0] = "FP128",
	[1] = "MOVU",
	[2] = "FP256",
	[3] = "FP512",
};

static const char leaf_8000001b_eax[32][CPUID_NAME_LEN] = {
	[0] = "IBS_FFV",
	[1] = "IBS_FETCHSAM",
	[2] = "IBS_OPSAM",
	[3] = "IBS_RDWROPCNT",
	[4] = "IBS_OPCNT",
	[5] = "IBS_BRNTRGT",
	[6] = "IBS_OPCNTEXT",
	[7] = "IBS_RIPINVALIDCHK",
	[8] = "IBS_OPBRNFUSE",
	[9] = "IBS_FETCHCTLEXTD",
	[11] = "IBS_L3MISSFILTERING",
};

static const char leaf_8000001f_eax[32][CPUID_NAME_LEN] = {
	[0] = "SME",
	[1] = "SEV",
	[2] = "VM_PAGE_FLUSH",
	[3] = "SEV_ES",
	[4] = "SEV_SNP",
	[5] = "VMPL",
	[6] = "RMPQUERY",
	[7] = "VMPL_SSS",
	[8] = "SECURE_TSC",
	[9] = "TSC_AUX_VIRT",
	[10] = "HW_ENF_CACHE_COH",
	[11] = "SEV_64BIT_HOST",
	[12] = "RESTRICTED_INJECTION",
	[13] = "ALTERNATE_INJECTION",
	[14] = "SEV_DEBUG_SWAP",
	[15] = "PREVENT_HOST_IBS",
	[16] = "VTE",
	[17] = "VMGEXIT_PARAMETER",
	[18] = "VIRTUAL_TOM_MSR",
	[19] = "IBS_VIRT",
	[24] = "VMSA_REG_PROTECTION",
	[25] = "SMT_PROTECTION",
	[28] = "SVSM_PAGE_MSR",
	[29] = "NESTED_VIRT_SNP_MSR",
};

static const char leaf_80000022_eax[32][CPUID_NAME_LEN] = {
	[0] = "PERFMON_V2",
	[1] = "LBR_STACK",
	[2] = "LBR_PMC_FREEZE",
};

static const char leaf_80000021_eax[32][CPUID_NAME_LEN] = {
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
	[12] = "LONG_VERW",
	[13] = "PREFETCH_CTL_MSR",
	[15] = "AMD_ERMSB",
	[16] = "OPCODE_0F017_RECLAIM",
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

static const char leaf_80000021_ecx[32][CPUID_NAME_LEN] = {
	[1] = "TSA_SQ_NO",
	[2] = "TSA_L1_NO",
};

static const char no_names[32][CPUID_NAME_LEN];

const struct cpuid_features cpuid_features[] = {
	{0x1, 0, CPUID_ECX, MWAIT | TSC_DEADLINE | OSXSAVE | HYPERVISOR, 0, leaf_1_ecx},
	{0x1, 0, CPUID_EDX, HTT, 0, leaf_1_edx},
	{0x5, 0, CPUID_ECX, 0, 0, leaf_5_ecx},
	{0x6, 0, CPUID_EAX, 0, 0, leaf_6_eax},
	{0x6, 0, CPUID_ECX, 0, 0, leaf_6_ecx},
	{0x7, 0, CPUID_EBX, FDP_EXCPTN_ONLY | ZERO_FCS_FDS, FDP_EXCPTN_ONLY | ZERO_FCS_FDS,
	 leaf_7_ebx},
	{0x7, 0, CPUID_ECX, OSPKE, 0, leaf_7_ecx},
	{0x7, 0, CPUID_EDX, 0, RTM_ALWAYS_ABORT, leaf_7_edx},
	{0x7, 1, CPUID_EAX, 0, 0, leaf_7_1_eax},
	{0x7, 1, CPUID_EBX, 0, 0, leaf_7_1_ebx},
	{0x7, 1, CPUID_ECX, 0, 0, leaf_7_1_ecx},
	{0x7, 1, CPUID_EDX, 0, 0, leaf_7_1_edx},
	{0x7, 2, CPUID_EDX, 0, 0, leaf_7_2_edx},
	{0xa, 0, CPUID_EBX, NONE_IS_LACKING, UINT32_MAX, leaf_a_ebx},
	{0xd, 0, CPUID_EAX, 0, 0, leaf_d_eax},
	{0xd, 0, CPUID_EDX, 0, 0, leaf_d_edx},
	{0xd, 1, CPUID_EAX, 0, 0, leaf_d_1_eax},
	{0xd, 1, CPUID_ECX, 0, 0, leaf_d_1_ecx},
	{0xd, 1, CPUID_EDX, 0, 0, no_names},
	{0xf, 0, CPUID_EDX, 0, 0, leaf_f_edx},
	{0xf, 1, CPUID_EDX, 0, 0, leaf_f_1_edx},
	{0x10, 0, CPUID_EBX, 0, 0, leaf_10_ebx},
	{0x12, 0, CPUID_EAX, 0, 0, leaf_12_eax},
	{0x14, 0, CPUID_EBX, 0, 0, leaf_14_ebx},
	{0x14, 0, CPUID_ECX, 0, PT_LIP, leaf_14_ecx},
	{0x19, 0, CPUID_EAX, 0, 0, leaf_19_eax},
	{0x19, 0, CPUID_EBX, 0, 0, leaf_19_ebx},
	{0x1c, 0, CPUID_EBX, 0, 0, leaf_1c_ebx},
	{0x1c, 0, CPUID_ECX, 0, 0, leaf_1c_ecx},
	{0x1e, 1, CPUID_EAX, 0, 0, leaf_1e_1_eax},
	{0x24, 0, CPUID_EBX, AVX10_VERSION, 0, leaf_24_ebx},
	{0x40000001, 0, CPUID_EAX, 0, 0, kvm_eax},
	{0x40000001, 0, CPUID_EDX, NONE_IS_LACKING, 0, kvm_edx},
	{0x80000001, 0, CPUID_ECX, TOPOEXT, 0, leaf_80000001_ecx},
	{0x80000001, 0, CPUID_EDX, 0, 0, leaf_80000001_edx},
	{0x80000007, 0, CPUID_EBX, 0, 0, leaf_80000007_ebx},
	{0x80000007, 0, CPUID_EDX, 0, 0, leaf_80000007_edx},
	{0x80000008, 0, CPUID_EBX, 0, 0, leaf_80000008_ebx},
	{0x8000000a, 0, CPUID_EDX, 0, 0, leaf_8000000a_edx},
	{0x8000001a, 0, CPUID_EAX, NONE_IS_LACKING, 0, leaf_8000001a_eax},
	{0x8000001b, 0, CPUID_EAX, 0, 0, leaf_8000001b_eax},
	{0x8000001f, 0, CPUID_EAX, 0, 0, leaf_8000001f_eax},
	{0x80000021, 0, CPUID_EAX, 0, 0, leaf_80000021_eax},
	{0x80000021, 0, CPUID_ECX, 0, 0, leaf_80000021_ecx},
	{0x80000022, 0, CPUID_EAX, 0, 0, leaf_80000022_eax},
};

const size_t cpuid_feature_count = ARRAY_COUNT(cpuid_features);

/* --- Numbers and names --- */

#define MIN ARCH_RULE_MIN
#define LIMIT ARCH_RULE_LIMIT
#define FIRST ARCH_RULE_FIRST
#define LEFT ARCH_RULE_LEFT
#define MACHINE ARCH_RULE_MACHINE

/* Of an earlier row and a later one that have a bit, the earlier one counts. */
const struct cpuid_field cpuid_fields[] = {
	{0x0, 0, CPUID_EAX, 0, 32, MIN, "last leaf"},
	{0x0, 0, CPUID_ANY, 0, 32, FIRST, "vendor"},
	{0x1, 0, CPUID_EAX, 0, 4, FIRST, "stepping"},
	{0x1, 0, CPUID_EAX, 4, 4, FIRST, "model"},
	{0x1, 0, CPUID_EAX, 8, 4, FIRST, "family"},
	{0x1, 0, CPUID_EAX, 12, 2, FIRST, "type"},
	{0x1, 0, CPUID_EAX, 16, 4, FIRST, "extended model"},
	{0x1, 0, CPUID_EAX, 20, 8, FIRST, "extended family"},
	{0x1, 0, CPUID_EBX, 0, 8, FIRST, "brand index"},
	{0x1, 0, CPUID_EBX, 8, 8, MACHINE, "size of CLFLUSH in 8 bytes"},
	{0x1, 0, CPUID_EBX, 16, 8, MACHINE, "number of APIC ids"},
	{0x1, 0, CPUID_EBX, 24, 8, MACHINE, "APIC id"},
	{0x2, 0, CPUID_ANY, 0, 32, FIRST, "descriptors of TLBs and caches"},
	{0x4, CPUID_ANY, CPUID_ANY, 0, 32, MACHINE, "cache"},
	{0x5, 0, CPUID_EAX, 0, 16, LEFT, "smallest line of MONITOR"},
	{0x5, 0, CPUID_EBX, 0, 16, LEFT, "largest line of MONITOR"},
	{0x6, 0, CPUID_EBX, 0, 4, MIN, "thresholds of the thermal sensor"},
	{0x7, 0, CPUID_EAX, 0, 32, MIN, "last subleaf of 0x7"},
	{0xa, 0, CPUID_EAX, 0, 8, MIN, "version of performance monitoring"},
	{0xa, 0, CPUID_EAX, 8, 8, MIN, "performance counters"},
	{0xa, 0, CPUID_EAX, 16, 8, MIN, "width of performance counters"},
	{0xa, 0, CPUID_EDX, 0, 5, MIN, "fixed performance counters"},
	{0xa, 0, CPUID_EDX, 5, 8, MIN, "width of fixed performance counters"},
	{0xb, CPUID_ANY, CPUID_ANY, 0, 32, MACHINE, "topology"},
	{0xd, 0, CPUID_EBX, 0, 32, MACHINE, "size of the XSAVE area in use"},
	{0xd, 0, CPUID_ECX, 0, 32, MIN, "size of the whole XSAVE area"},
	{0xd, 1, CPUID_EBX, 0, 32, MACHINE, "size of the compact XSAVE area in use"},
	{0xd, CPUID_ANY, CPUID_EAX, 0, 32, LEFT, "size of a component of the XSAVE area"},
	{0xd, CPUID_ANY, CPUID_EBX, 0, 32, LEFT, "place of a component in the XSAVE area"},
	{0xd, CPUID_ANY, CPUID_ECX, 0, 1, LEFT, "component of supervisor state"},
	{0xd, CPUID_ANY, CPUID_ECX, 1, 1, LEFT, "component aligned to 64 bytes"},
	{0xd, CPUID_ANY, CPUID_ECX, 2, 1, LEFT, "component with XFD"},
	{0x12, 0, CPUID_EDX, 0, 8, MIN, "size of an enclave outside 64-bit mode, as a power of 2"},
	{0x12, 0, CPUID_EDX, 8, 8, MIN, "size of an enclave in 64-bit mode, as a power of 2"},
	{0x14, 0, CPUID_EAX, 0, 32, MIN, "last subleaf of 0x14"},
	{0x15, 0, CPUID_ANY, 0, 32, LEFT, "ratio of the TSC to its crystal"},
	{0x16, 0, CPUID_ANY, 0, 16, LEFT, "frequency in MHz"},
	{0x18, CPUID_ANY, CPUID_ANY, 0, 32, LEFT, "TLB"},
	{0x1c, 0, CPUID_EAX, 0, 8, LEFT, "depths of last branch records"},
	{0x1d, 0, CPUID_EAX, 0, 32, MIN, "last palette of AMX"},
	{0x1d, CPUID_ANY, CPUID_ANY, 0, 32, LEFT, "size of tiles"},
	{0x1e, 0, CPUID_EBX, 0, 24, LEFT, "size of tile multiplications"},
	{0x1f, CPUID_ANY, CPUID_ANY, 0, 32, MACHINE, "topology"},
	{0x24, 0, CPUID_EAX, 0, 32, MIN, "last subleaf of 0x24"},
	{0x24, 0, CPUID_EBX, 0, 8, LIMIT, "version of AVX10"},
	{0x40000000, 0, CPUID_EAX, 0, 32, MIN, "last leaf of the hypervisor"},
	{0x40000000, 0, CPUID_ANY, 0, 32, FIRST, "hypervisor"},
	{0x40000010, 0, CPUID_EAX, 0, 32, LEFT, "frequency of the TSC in kHz"},
	{0x40000010, 0, CPUID_EBX, 0, 32, LEFT, "frequency of the local APIC in kHz"},
	{0x80000000, 0, CPUID_EAX, 0, 32, MIN, "last extended leaf"},
	{0x80000000, 0, CPUID_ANY, 0, 32, FIRST, "vendor"},
	{0x80000001, 0, CPUID_EAX, 0, 32, FIRST, "family, model and stepping"},
	{0x80000001, 0, CPUID_EBX, 0, 32, FIRST, "package and brand"},
	{0x80000002, 0, CPUID_ANY, 0, 32, MACHINE, "brand"},
	{0x80000003, 0, CPUID_ANY, 0, 32, MACHINE, "brand"},
	{0x80000004, 0, CPUID_ANY, 0, 32, MACHINE, "brand"},
	{0x80000005, 0, CPUID_ANY, 0, 32, MACHINE, "caches and TLBs of level 1"},
	{0x80000006, 0, CPUID_ANY, 0, 32, MACHINE, "caches and TLBs of levels 2 and 3"},
	{0x80000008, 0, CPUID_EAX, 0, 8, LIMIT, "width of physical addresses"},
	{0x80000008, 0, CPUID_EAX, 8, 8, LIMIT, "width of linear addresses"},
	{0x80000008, 0, CPUID_EAX, 16, 8, MIN, "width of guests' physical addresses"},
	{0x80000008, 0, CPUID_ECX, 0, 8, MACHINE, "threads of the package, less 1"},
	{0x80000008, 0, CPUID_ECX, 12, 4, MACHINE, "width of APIC ids"},
	{0x80000008, 0, CPUID_ECX, 16, 2, MIN, "width of the performance TSC"},
	{0x80000008, 0, CPUID_EDX, 0, 16, MIN, "pages of one INVLPGB"},
	{0x80000008, 0, CPUID_EDX, 16, 16, MIN, "last register of RDPRU"},
	{0x8000000a, 0, CPUID_EAX, 0, 8, MIN, "revision of SVM"},
	{0x8000000a, 0, CPUID_EBX, 0, 32, MIN, "number of ASIDs"},
	{0x80000019, 0, CPUID_ANY, 0, 32, LEFT, "TLBs of 1 GiB pages"},
	{0x8000001d, CPUID_ANY, CPUID_ANY, 0, 32, MACHINE, "cache"},
	{0x8000001e, CPUID_ANY, CPUID_ANY, 0, 32, MACHINE, "topology"},
	{0x8000001f, 0, CPUID_EBX, 0, 6, LEFT, "place of the encryption bit"},
	{0x8000001f, 0, CPUID_EBX, 6, 6, LEFT, "address bits lost to encryption"},
	{0x8000001f, 0, CPUID_ECX, 0, 32, LEFT, "number of encrypted guests"},
	{0x8000001f, 0, CPUID_EDX, 0, 32, LEFT, "first ASID of SEV alone"},
	{0x80000021, 0, CPUID_EBX, 0, 16, MIN, "size of microcode patches in 16 bytes"},
	{0x80000022, 0, CPUID_EBX, 0, 4, MIN, "core performance counters"},
};

const size_t cpuid_field_count = ARRAY_COUNT(cpuid_fields);

bool cpuid_has_subleaves(uint32_t leaf)
{
	static const uint32_t leaves[] = {0x4,	0x7,  0xb,  0xd,	0xf,	   0x10,
					  0x12, 0x14, 0x17, 0x18,	0x1d,	   0x1e,
					  0x1f, 0x20, 0x24, 0x8000001d, 0x80000026};

	for (size_t i = 0; i < ARRAY_COUNT(leaves); i++) {
		if (leaves[i] == leaf) {
			return true;
		}
	}
	return false;
}
