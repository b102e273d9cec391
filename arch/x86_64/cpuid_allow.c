/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of a host's abilities a guest may see.
 *
 * Theory of operation. KVM_GET_SUPPORTED_CPUID grows with each kernel and processor: nested
 * virtualization, performance counters and state that a snapshot would have to know of turn up
 * unasked. So what is not named here is not there: leaves are left out, bits of the leaves that
 * tell features are cleared. A feature that guests may have is a bit in this table. Bits are
 * named in [intel-sdm vol. 2, CPUID] and [amd-apm vol. 3, appendix E].
 */
#include "cpuid.h"

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/bytes.h"

/* Every subleaf of them. Leaves of topology and caches are made anew afterwards. */
static const struct leaf_range {
	uint32_t first;
	uint32_t last;
} leaves[] = {
	{0x0, 0x2},		  /* vendor, features, TLBs */
	{0x4, 0x4},		  /* caches */
	{0x6, 0x7},		  /* APIC timer that never stops; features */
	{0xa, 0xb},		  /* no counters; topology */
	{0xd, 0xd},		  /* XSAVE */
	{0x15, 0x16},		  /* frequencies */
	{0x18, 0x18},		  /* TLBs */
	{0x1d, 0x1f},		  /* AMX; topology */
	{0x24, 0x24},		  /* AVX10 */
	{0x40000000, 0x400000ff}, /* KVM's own */
	{0x80000000, 0x80000008}, /* features, brand, caches, sizes */
	{0x80000019, 0x8000001a}, /* TLBs; widths of units */
	{0x8000001d, 0x8000001e}, /* caches, topology */
	{0x80000021, 0x80000021}, /* features */
};

/* Registers of features, with the bits that pass. A subleaf of a leaf here that has no row: none.
 */
static const struct feature_leaf {
	uint32_t leaf;
	uint32_t subleaf;
	struct cpuid_regs pass;
} feature_leaves[] = {
	/*
	 * ECX without: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, CNXT-ID, SDBG, xTPR, PDCM,
	 * DCA. EDX without: serial number, DS, ACPI, TM, PBE.
	 */
	{0x1, 0, {UINT32_MAX, UINT32_MAX, 0xfffa3203, 0x1f8bfbff}},
	/* ARAT alone: no thermal and power state of the host's */
	{0x6, 0, {0x00000004, 0, 0, 0}},
	/*
	 * EBX without: SGX, resource monitoring and allocation, PT.
	 * ECX without: WAITPKG, TME, key locker, ENQCMD, SGX-LC, PKS.
	 * EDX without: UINTR, hybrid, PCONFIG, architectural LBR, core capabilities.
	 */
	{0x7, 0, {UINT32_MAX, 0xfdff6ffb, 0x1b7f5fdf, 0xbfd14d1c}},
	/*
	 * EAX: SHA512, SM3, SM4, AVX-VNNI, AVX512-BF16, CMPCCXADD, fast strings, LKGS, WRMSRNS,
	 * AMX-FP16, AVX-IFMA, LAM. EDX: AVX-VNNI-INT8, AVX-NE-CONVERT, AMX-COMPLEX, AVX-VNNI-INT16,
	 * PREFETCHI, AVX10.
	 */
	{0x7, 1, {0x04ac1cb7, 0, 0, 0x00084530}},
	/* PSFD, IPRED, RRSBA, DDPD_U, BHI, MCDT_NO: controls of speculation */
	{0x7, 2, {0, 0, 0, 0x0000003f}},
	/* no virtual PMU */
	{0xa, 0, {0, 0, 0, 0}},
	/* KVM's features up to its migration control, and the stable clock */
	{0x40000001, 0, {0x0103ffff, 0, 0, UINT32_MAX}},
	/*
	 * ECX without: SVM, extended APIC space, IBS, SKINIT, WDT, LWP, counters of core, north
	 * bridge and L3, data breakpoints, MWAITX.
	 */
	{0x80000001, 0, {UINT32_MAX, UINT32_MAX, 0x00610bf3, 0xefd3fbff}},
	/* machine checks that can be recovered from; the TSC that never stops */
	{0x80000007, 0, {0, 0x00000003, 0, 0x00000100}},
	/*
	 * EBX: CLZERO, XSAVEERPTR, WBNOINVD, and the controls of speculation: IBPB, IBRS, STIBP
	 * (and always on), SSBD, VIRT_SSBD, SSB_NO, PSFD, BTC_NO, IBPB_RET
	 */
	{0x80000008, 0, {UINT32_MAX, 0x7702d205, UINT32_MAX, 0}},
	/*
	 * EAX: no nested data breakpoints, WRMSR to bases does not serialize, LFENCE serializes,
	 * VERW clears, null selectors clear bases, automatic IBRS, no SMM_CTL, PREFETCHI, SBPB,
	 * IBPB_BRTYPE, SRSO_NO, SRSO_USER_KERNEL_NO. ECX: TSA_SQ_NO, TSA_L1_NO.
	 */
	{0x80000021, 0, {0x78100367, 0, 0x00000006, 0}},
};

static bool is_allowed_leaf(uint32_t leaf)
{
	for (size_t i = 0; i < ARRAY_COUNT(leaves); i++) {
		if (leaf >= leaves[i].first && leaf <= leaves[i].last) {
			return true;
		}
	}
	return false;
}

static void clear_features(struct kvm_cpuid_entry2 *entry)
{
	struct cpuid_regs pass = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_COUNT(feature_leaves); i++) {
		const struct feature_leaf *row = &feature_leaves[i];

		if (row->leaf == entry->function) {
			pass = row->subleaf == entry->index ? row->pass : (struct cpuid_regs){0};
			if (row->subleaf == entry->index) {
				break;
			}
		}
	}
	entry->eax &= pass.eax;
	entry->ebx &= pass.ebx;
	entry->ecx &= pass.ecx;
	entry->edx &= pass.edx;
}

void cpuid_allow(struct cpuid_table *table)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->count; i++) {
		if (is_allowed_leaf(table->entry[i].function)) {
			table->entry[kept] = table->entry[i];
			clear_features(&table->entry[kept]);
			kept++;
		}
	}
	table->count = kept;
}
