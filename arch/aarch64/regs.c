/* SPDX-License-Identifier: Apache-2.0 */
/* Names of registers and of the fields of ID registers [arm-arm D23]. */
#include "arch/aarch64/regs.h"

#include "arch/field.h"

#include <stdio.h>

#include "arch/aarch64/kvm_arm.h"
#include "vmm/base/bytes.h"

enum {
	FIELDS = 16, /* of 4 bits each */
	FIELD_BITS = 4,
	/* Names stand in their tables: pointers to them would be memory of each process. */
	FIELD_NAME_LEN = 36,
	NAME_LEN = 32,
};

/* A register that tells what the CPU is. */
struct id_reg {
	uint64_t id;
	char name[NAME_LEN];
	uint32_t is_signed; /* a bit per field: 15 is less than 0, and means "not implemented" */
	uint32_t is_bits;   /* a bit per field: it is features of one bit each */
	uint32_t is_cost;   /* a bit per field: less is better */
	bool is_whole;	    /* not made of fields of 4 bits */
	char fields[FIELDS][FIELD_NAME_LEN]; /* from bit 0 upwards; empty: reserved */
};

#define ID_REG(crm, op2) ARM64_SYS_REG(3, 0, 0, crm, op2)

static const struct id_reg id_regs[] = {
	{.id = ID_REG(0, 0), .name = "MIDR_EL1", .is_whole = true},
	{.id = ID_REG(0, 6), .name = "REVIDR_EL1", .is_whole = true},
	{.id = ARM64_SYS_REG(3, 1, 0, 0, 7), .name = "AIDR_EL1", .is_whole = true},
	{.id = ARM64_SYS_REG(3, 1, 0, 0, 1), .name = "CLIDR_EL1", .is_whole = true},
	{.id = ARM64_SYS_REG(3, 3, 0, 0, 7), .name = "DCZID_EL0", .is_whole = true},
	{.id = ARM64_SYS_REG(3, 3, 0, 0, 1),
	 .name = "CTR_EL0",
	 .is_bits = 1U << 7,
	 .is_cost = 1U << 5 | 1U << 6,
	 .fields = {"IminLine", "", "", "L1Ip", "DminLine", "ERG", "CWG", "IDC and DIC", "TminLine",
		    "TminLine"}},
	{.id = ID_REG(4, 0),
	 .name = "ID_AA64PFR0_EL1",
	 .is_signed = 1U << 4 | 1U << 5,
	 .fields = {"EL0", "EL1", "EL2", "EL3", "FP", "AdvSIMD", "GIC", "RAS", "SVE", "SEL2",
		    "MPAM", "AMU", "DIT", "RME", "CSV2", "CSV3"}},
	{.id = ID_REG(4, 1),
	 .name = "ID_AA64PFR1_EL1",
	 .fields = {"BT", "SSBS", "MTE", "RAS_frac", "MPAM_frac", "", "SME", "RNDR_trap",
		    "CSV2_frac", "NMI", "MTE_frac", "GCS", "THE", "MTEX", "DF2", "PFAR"}},
	{.id = ID_REG(4, 2),
	 .name = "ID_AA64PFR2_EL1",
	 .fields = {"MTEPERM", "MTESTOREONLY", "MTEFAR", [8] = "FPMR"}},
	{.id = ID_REG(4, 4),
	 .name = "ID_AA64ZFR0_EL1",
	 .fields = {"SVEver", "SVE AES", [4] = "SVE BitPerm", "SVE BF16",
		    "SVE B16B16", [8] = "SVE SHA3", [10] = "SVE SM4",
		    "SVE I8MM", [13] = "SVE F32MM", "SVE F64MM"}},
	{.id = ID_REG(4, 5),
	 .name = "ID_AA64SMFR0_EL1",
	 .is_bits = 1U << 7 | 1U << 8 | 1U << 9 | 1U << 10 | 1U << 12 | 1U << 13 | 1U << 15,
	 .fields = {[7] = "SF8FMA, SF8DP4 and SF8DP2",
		    "F32F32, BI32I32, B16F32 and F16F32",
		    "I8I32",
		    "F8F32, F8F16, F16F16 and B16B16",
		    "I16I32",
		    "F64F64",
		    "I16I64",
		    "SMEver",
		    "FA64 and LUTv2"}},
	{.id = ID_REG(4, 7),
	 .name = "ID_AA64FPFR0_EL1",
	 .is_bits = 1U << 0 | 1U << 7,
	 .fields = {"F8E4M3 and F8E5M2", [7] = "F8CVT, F8FMA, F8DP4 and F8DP2"}},
	{.id = ID_REG(5, 0),
	 .name = "ID_AA64DFR0_EL1",
	 .is_signed = 1U << 2 | 1U << 9,
	 .fields = {"DebugVer", "TraceVer", "PMUVer", "BRPs", "", "WRPs", "", "CTX_CMPs", "PMSVer",
		    "DoubleLock", "TraceFilt", "TraceBuffer", "MTPMU", "BRBE", "ExtTrcBuff",
		    "HPMN0"}},
	{.id = ID_REG(5, 1), .name = "ID_AA64DFR1_EL1", .is_whole = true},
	{.id = ID_REG(6, 0),
	 .name = "ID_AA64ISAR0_EL1",
	 .fields = {"", "AES", "SHA1", "SHA2", "CRC32", "Atomic", "TME", "RDM", "SHA3", "SM3",
		    "SM4", "DP", "FHM", "TS", "TLB", "RNDR"}},
	{.id = ID_REG(6, 1),
	 .name = "ID_AA64ISAR1_EL1",
	 .fields = {"DPB", "APA", "API", "JSCVT", "FCMA", "LRCPC", "GPA", "GPI", "FRINTTS", "SB",
		    "SPECRES", "BF16", "DGH", "I8MM", "XS", "LS64"}},
	{.id = ID_REG(6, 2),
	 .name = "ID_AA64ISAR2_EL1",
	 .fields = {"WFxT", "RPRES", "GPA3", "APA3", "MOPS", "BC", "PAC_frac", "CLRBHB",
		    "SYSREG_128", "SYSINSTR_128", "PRFMSLC", "", "RPRFM", "CSSC", "LUT", "ATS1A"}},
	{.id = ID_REG(6, 3),
	 .name = "ID_AA64ISAR3_EL1",
	 .fields = {"CPA", "FAMINMAX", "TLBIW", "PACM"}},
	{.id = ID_REG(7, 0),
	 .name = "ID_AA64MMFR0_EL1",
	 .is_signed = 1U << 6 | 1U << 7,
	 .fields = {"PARange", "ASIDBits", "BigEnd", "SNSMem", "BigEndEL0", "TGran16", "TGran64",
		    "TGran4", "TGran16_2", "TGran64_2", "TGran4_2", "ExS", "", "", "FGT", "ECV"}},
	{.id = ID_REG(7, 1),
	 .name = "ID_AA64MMFR1_EL1",
	 .fields = {"HAFDBS", "VMIDBits", "VH", "HPDS", "LO", "PAN", "SpecSEI", "XNX", "TWED",
		    "ETS", "HCX", "AFP", "nTLBPA", "TIDCP1", "CMOW", "ECBHB"}},
	{.id = ID_REG(7, 2),
	 .name = "ID_AA64MMFR2_EL1",
	 .fields = {"CnP", "UAO", "LSM", "IESB", "VARange", "CCIDX", "NV", "ST", "AT", "IDS", "FWB",
		    "", "TTL", "BBM", "EVT", "E0PD"}},
	{.id = ID_REG(7, 3),
	 .name = "ID_AA64MMFR3_EL1",
	 .fields = {"TCRX", "SCTLRX", "S1PIE", "S2PIE", "S1POE", "S2POE", "AIE", "MEC", "D128",
		    "D128_2", "SNERR", "ANERR", "", "SDERR", "ADERR", "Spec_FPACC"}},
	{.id = ID_REG(7, 4),
	 .name = "ID_AA64MMFR4_EL1",
	 .is_signed = 1U << 6,
	 .fields = {"", "EIESB", "ASID2", "HACDBS", "FGWTE3", "NV_frac", "E2H0", [9] = "E3DSE"}},
	/* Of AArch32. */
	{.id = ID_REG(1, 0),
	 .name = "ID_PFR0_EL1",
	 .fields = {"State0", "State1", "State2", "State3", "CSV2", "AMU", "DIT", "RAS"}},
	{.id = ID_REG(1, 1),
	 .name = "ID_PFR1_EL1",
	 .fields = {"ProgMod", "Security", "MProgMod", "Virtualization", "GenTimer", "Sec_frac",
		    "Virt_frac", "GIC"}},
	{.id = ID_REG(1, 2),
	 .name = "ID_DFR0_EL1",
	 .is_signed = 1U << 6,
	 .fields = {"CopDbg", "CopSDbg", "MMapDbg", "CopTrc", "MMapTrc", "MProfDbg", "PerfMon",
		    "TraceFilt"}},
	{.id = ID_REG(1, 4),
	 .name = "ID_MMFR0_EL1",
	 .is_signed = 1U << 7,
	 .fields = {"VMSA", "PMSA", "OuterShr", "ShareLvl", "TCM", "AuxReg", "FCSE", "InnerShr"}},
	{.id = ID_REG(1, 5),
	 .name = "ID_MMFR1_EL1",
	 .fields = {"L1HvdVA", "L1UniVA", "L1HvdSW", "L1UniSW", "L1Hvd", "L1Uni", "L1TstCln",
		    "BPred"}},
	{.id = ID_REG(1, 6),
	 .name = "ID_MMFR2_EL1",
	 .fields = {"L1HvdFG", "L1HvdBG", "L1HvdRng", "HvdTLB", "UniTLB", "MemBarr", "WFIStall",
		    "HWAccFlg"}},
	{.id = ID_REG(1, 7),
	 .name = "ID_MMFR3_EL1",
	 .is_signed = 1U << 7,
	 .fields = {"CMaintVA", "CMaintSW", "BPMaint", "MaintBcst", "PAN", "CohWalk", "CMemSz",
		    "Supersec"}},
	{.id = ID_REG(2, 0),
	 .name = "ID_ISAR0_EL1",
	 .fields = {"Swap", "BitCount", "BitField", "CmpBranch", "Coproc", "Debug", "Divide"}},
	{.id = ID_REG(2, 1),
	 .name = "ID_ISAR1_EL1",
	 .fields = {"Endian", "Except", "Except_AR", "Extend", "IfThen", "Immediate", "Interwork",
		    "Jazelle"}},
	{.id = ID_REG(2, 2),
	 .name = "ID_ISAR2_EL1",
	 .fields = {"LoadStore", "MemHint", "MultiAccessInt", "Mult", "MultS", "MultU", "PSR_AR",
		    "Reversal"}},
	{.id = ID_REG(2, 3),
	 .name = "ID_ISAR3_EL1",
	 .fields = {"Saturate", "SIMD", "SVC", "SynchPrim", "TabBranch", "T32Copy", "TrueNOP",
		    "T32EE"}},
	{.id = ID_REG(2, 4),
	 .name = "ID_ISAR4_EL1",
	 .fields = {"Unpriv", "WithShifts", "Writeback", "SMC", "Barrier", "SynchPrim_frac",
		    "PSR_M", "SWP_frac"}},
	{.id = ID_REG(2, 5),
	 .name = "ID_ISAR5_EL1",
	 .fields = {"SEVL", "AES", "SHA1", "SHA2", "CRC32", "", "RDM", "VCMA"}},
	{.id = ID_REG(2, 6),
	 .name = "ID_MMFR4_EL1",
	 .fields = {"SpecSEI", "AC2", "XNX", "CnP", "HPDS", "LSM", "CCIDX", "EVT"}},
	{.id = ID_REG(2, 7),
	 .name = "ID_ISAR6_EL1",
	 .fields = {"JSCVT", "DP", "FHM", "SB", "SPECRES", "BF16", "I8MM", "CLRBHB"}},
	{.id = ID_REG(3, 0),
	 .name = "MVFR0_EL1",
	 .fields = {"SIMDReg", "FPSP", "FPDP", "FPTrap", "FPDivide", "FPSqrt", "FPShVec",
		    "FPRound"}},
	{.id = ID_REG(3, 1),
	 .name = "MVFR1_EL1",
	 .fields = {"FPFtZ", "FPDNaN", "SIMDLS", "SIMDInt", "SIMDSP", "SIMDHP", "FPHP",
		    "SIMDFMAC"}},
	{.id = ID_REG(3, 2), .name = "MVFR2_EL1", .fields = {"SIMDMisc", "FPMisc"}},
	{.id = ID_REG(3, 4), .name = "ID_PFR2_EL1", .fields = {"CSV3", "SSBS", "RAS_frac"}},
	{.id = ID_REG(3, 5),
	 .name = "ID_DFR1_EL1",
	 .is_signed = 1U << 0,
	 .fields = {"MTPMU", "HPMN0"}},
	{.id = ID_REG(3, 6), .name = "ID_MMFR5_EL1", .fields = {"ETS", "nTLBPA"}},
};

/* Those that KVM may refuse for another reason, or that a reader looks for. */
static const struct {
	uint64_t id;
	char name[NAME_LEN];
} names[] = {
	{KVM_ARM_CORE_REG(regs.sp), "SP_EL0"},
	{KVM_ARM_CORE_REG(regs.pc), "PC"},
	{KVM_ARM_CORE_REG(regs.pstate), "PSTATE"},
	{KVM_ARM_CORE_REG(sp_el1), "SP_EL1"},
	{KVM_ARM_CORE_REG(elr_el1), "ELR_EL1"},
	{KVM_ARM_CORE_REG(spsr[0]), "SPSR_EL1"},
	{KVM_ARM_MPIDR_EL1, "MPIDR_EL1"},
	{ID_REG(1, 3), "ID_AFR0_EL1"},
	{KVM_REG_ARM_TIMER_CTL, "CNTV_CTL_EL0"},
	{KVM_REG_ARM_TIMER_CNT, "CNTVCT_EL0"},
	{KVM_REG_ARM_TIMER_CVAL, "CNTV_CVAL_EL0"},
	{KVM_REG_ARM_PTIMER_CTL, "CNTP_CTL_EL0"},
	{KVM_REG_ARM_PTIMER_CNT, "CNTPCT_EL0"},
	{KVM_REG_ARM_PTIMER_CVAL, "CNTP_CVAL_EL0"},
	{ARM64_SYS_REG(3, 0, 1, 0, 0), "SCTLR_EL1"},
	{KVM_ARM_ESR_EL1, "ESR_EL1"},
	{ARM64_SYS_REG(3, 0, 2, 0, 3), "TCR2_EL1"},
	{ARM64_SYS_REG(3, 0, 10, 2, 2), "PIRE0_EL1"},
	{ARM64_SYS_REG(3, 0, 10, 2, 3), "PIR_EL1"},
	{ARM64_SYS_REG(3, 0, 10, 2, 4), "POR_EL1"},
	{KVM_REG_ARM_PSCI_VERSION, "PSCI version"},
	{KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1, "SMCCC_ARCH_WORKAROUND_1"},
	{KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2, "SMCCC_ARCH_WORKAROUND_2"},
	{KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3, "SMCCC_ARCH_WORKAROUND_3"},
	{KVM_REG_ARM_STD_BMAP, "standard secure services"},
	{KVM_REG_ARM_STD_HYP_BMAP, "standard hypervisor services"},
	{KVM_REG_ARM_VENDOR_HYP_BMAP, "vendor hypervisor services"},
};

static const struct id_reg *id_reg_of(uint64_t id)
{
	for (size_t i = 0; i < ARRAY_COUNT(id_regs); i++) {
		if (id_regs[i].id == id) {
			return &id_regs[i];
		}
	}
	return NULL;
}

/* --- What ids tell --- */

size_t reg_len(uint64_t id)
{
	return (size_t)1 << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT);
}

/* The kind of a register: core, system, firmware... */
static uint64_t kind_of(uint64_t id)
{
	return id & KVM_REG_ARM_COPROC_MASK;
}

/* A part of the encoding of a system register's instruction. */
#define PART(id, part)                                                                             \
	((unsigned)(((id)&KVM_REG_ARM64_SYSREG_##part##_MASK) >>                                   \
		    KVM_REG_ARM64_SYSREG_##part##_SHIFT))

bool reg_is_of_host(uint64_t id)
{
	switch (kind_of(id)) {
	case KVM_REG_ARM_FW:
	case KVM_REG_ARM_FW_FEAT_BMAP:
	case KVM_REG_ARM_DEMUX:
		return true;
	case KVM_REG_ARM64_SYSREG:
		/* The architecture has its ID registers here; CSSELR_EL1 alone is a guest's. */
		return PART(id, OP0) == 3 && PART(id, CRN) == 0 && PART(id, OP1) != 2 &&
		       id != KVM_ARM_MPIDR_EL1;
	default:
		return false;
	}
}

bool reg_is_of_make(uint64_t id)
{
	return id == id_regs[0].id || id == id_regs[1].id || id == id_regs[2].id;
}

bool reg_is_counter(uint64_t id)
{
	return id == KVM_REG_ARM_TIMER_CNT || id == KVM_REG_ARM_PTIMER_CNT;
}

/* --- Names --- */

#define PRINT(name, ...) snprintf((name).text, sizeof((name).text), __VA_ARGS__)

static struct reg_name core_name(uint64_t id)
{
	struct reg_name name;
	unsigned at = id & 0xffff; /* in words of struct kvm_regs */

	if (at < KVM_REG_ARM_CORE_REG(regs.sp)) {
		PRINT(name, "X%u", at / 2);
	} else if (at >= KVM_REG_ARM_CORE_REG(fp_regs.vregs) &&
		   at < KVM_REG_ARM_CORE_REG(fp_regs.fpsr)) {
		PRINT(name, "V%u", (at - (unsigned)KVM_REG_ARM_CORE_REG(fp_regs.vregs)) / 4);
	} else {
		PRINT(name, "core register at word %u", at);
	}
	return name;
}

struct reg_name reg_name(uint64_t id)
{
	const struct id_reg *id_reg = id_reg_of(id);
	struct reg_name name;

	if (id_reg != NULL) {
		PRINT(name, "%s", id_reg->name);
		return name;
	}
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (names[i].id == id) {
			PRINT(name, "%s", names[i].name);
			return name;
		}
	}
	switch (kind_of(id)) {
	case KVM_REG_ARM_CORE:
		return core_name(id);
	case KVM_REG_ARM64_SYSREG:
		PRINT(name, "S%u_%u_C%u_C%u_%u", PART(id, OP0), PART(id, OP1), PART(id, CRN),
		      PART(id, CRM), PART(id, OP2));
		break;
	case KVM_REG_ARM_DEMUX:
		PRINT(name, "CCSIDR_EL1 of cache %u", (unsigned)(id & KVM_REG_ARM_DEMUX_VAL_MASK));
		break;
	case KVM_REG_ARM64_SVE:
		PRINT(name, "SVE register %#x", (unsigned)(id & 0xffff));
		break;
	default:
		PRINT(name, "register %#llx", (unsigned long long)id);
		break;
	}
	return name;
}

/* --- Differences --- */

static void add_separator(struct text *text)
{
	if (text->len > 0) {
		text_add(text, ", ");
	}
}

static int field_of(uint64_t value, unsigned field, bool is_signed)
{
	int bits = (int)(value >> field * FIELD_BITS & 15);

	return is_signed && bits >= 8 ? bits - 16 : bits;
}

/* Appends the fields in which the host has less, or all that differ. */
static unsigned explain_fields(const struct id_reg *reg, const uint64_t values[2], bool only_less,
			       struct text *text)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FIELDS; i++) {
		bool is_signed = (reg->is_signed >> i & 1) != 0;
		int saved = field_of(values[0], i, is_signed);
		int host = field_of(values[1], i, is_signed);

		if (saved == host || (only_less && saved < host)) {
			continue;
		}
		add_separator(text);
		text_add(text, "%s (%s bits %u:%u: %u, this host has %u)",
			 reg->fields[i][0] != '\0' ? reg->fields[i] : "a reserved field", reg->name,
			 i * FIELD_BITS + FIELD_BITS - 1, i * FIELD_BITS, (unsigned)saved & 15,
			 (unsigned)host & 15);
		count++;
	}
	return count;
}

unsigned reg_explain(uint64_t id, uint64_t saved, uint64_t host, struct text *text)
{
	const struct id_reg *reg = id_reg_of(id);
	const uint64_t values[2] = {saved, host};

	if (reg == NULL || reg->is_whole) {
		add_separator(text);
		text_add(text, "%s (%#llx, this host has %#llx)", reg_name(id).text,
			 (unsigned long long)saved, (unsigned long long)host);
		return 1;
	}
	unsigned count = explain_fields(reg, values, true, text);

	return count > 0 ? count : explain_fields(reg, values, false, text);
}

/* --- The table, for others --- */

/* Services of KVM's firmware, a bit each. */
static const char *service_name(uint64_t id, unsigned bit)
{
	static const struct {
		uint64_t id;
		unsigned bit;
		const char *name;
	} services[] = {
		{KVM_REG_ARM_STD_BMAP, KVM_REG_ARM_STD_BIT_TRNG_V1_0, "TRNG"},
		{KVM_REG_ARM_STD_HYP_BMAP, KVM_REG_ARM_STD_HYP_BIT_PV_TIME, "stolen time"},
		{KVM_REG_ARM_VENDOR_HYP_BMAP, KVM_REG_ARM_VENDOR_HYP_BIT_FUNC_FEAT,
		 "KVM's features"},
		{KVM_REG_ARM_VENDOR_HYP_BMAP, KVM_REG_ARM_VENDOR_HYP_BIT_PTP, "PTP clock"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(services); i++) {
		if (services[i].id == id && services[i].bit == bit) {
			return services[i].name;
		}
	}
	return NULL;
}

struct arch_field arch_field_at(const struct arch_register *reg, unsigned bit)
{
	const struct id_reg *id_reg = id_reg_of(reg->id);
	const unsigned field = bit / FIELD_BITS;
	struct arch_field found = {.width = (unsigned)reg_len(reg->id) * 8};

	if (kind_of(reg->id) == KVM_REG_ARM_FW_FEAT_BMAP) {
		found = (struct arch_field){bit, 1, service_name(reg->id, bit), ARCH_RULE_AND};
	} else if (id_reg == NULL) {
		found.rule = reg_is_of_host(reg->id) ? ARCH_RULE_LEFT : ARCH_RULE_MACHINE;
	} else if (id_reg->is_whole || field >= FIELDS) {
		found.rule = ARCH_RULE_LEFT;
	} else {
		const char *name = id_reg->fields[field];

		found = (struct arch_field){
			field * FIELD_BITS, FIELD_BITS, name[0] != '\0' ? name : NULL,
			(id_reg->is_bits >> field & 1) != 0	? ARCH_RULE_AND
			: (id_reg->is_cost >> field & 1) != 0	? ARCH_RULE_MAX
			: (id_reg->is_signed >> field & 1) != 0 ? ARCH_RULE_SIGNED_MIN
								: ARCH_RULE_MIN};
	}
	return found;
}

void arch_register_add_name(struct text *text, const struct arch_register *reg)
{
	text_add(text, "%s", reg_name(reg->id).text);
}

void arch_field_add_name(struct text *text, const struct arch_register *reg,
			 const struct arch_field *field)
{
	if (field->name != NULL) {
		text_add(text, "%s (", field->name);
	}
	arch_register_add_name(text, reg);
	if (field->width == 1) {
		text_add(text, " bit %u", field->shift);
	} else if (field->width == FIELD_BITS) {
		text_add(text, " bits %u:%u", field->shift + field->width - 1, field->shift);
	}
	text_add(text, "%s", field->name != NULL ? ")" : "");
}

void arch_vendor_add_name(struct text *text, const struct cpu_template *dump)
{
	for (size_t i = 0; i < dump->register_count; i++) {
		if (dump->registers[i].id == id_regs[0].id) {
			text_add(text, "implementer 0x%x",
				 (unsigned)(dump->registers[i].bits.value[0] >> 24 & 0xff));
			return;
		}
	}
	text_add(text, "unknown");
}
