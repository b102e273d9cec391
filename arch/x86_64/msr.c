/* SPDX-License-Identifier: Apache-2.0 */
/* The model-specific registers of a vCPU at boot. */
#include "msr.h"

#include "kvm_x86.h"
#include "vmm/base/bytes.h"

/* Register numbers [intel-sdm vol. 4, table 2-2]. */
enum {
	MSR_IA32_SYSENTER_CS = 0x174,
	MSR_IA32_SYSENTER_ESP = 0x175,
	MSR_IA32_SYSENTER_EIP = 0x176,
	MSR_IA32_MISC_ENABLE = 0x1a0,
	MSR_MTRR_DEF_TYPE = 0x2ff,
};

#define MSR_STAR UINT32_C(0xc0000081)
#define MSR_LSTAR UINT32_C(0xc0000082)
#define MSR_CSTAR UINT32_C(0xc0000083)
#define MSR_SYSCALL_MASK UINT32_C(0xc0000084)
#define MSR_KERNEL_GS_BASE UINT32_C(0xc0000102)

enum {
	MISC_ENABLE_FAST_STRING = 1 << 0,
	MTRR_ENABLE = 1 << 11,
	MTRR_WRITE_BACK = 6, /* all memory, as no range register says otherwise */
};

static const struct kvm_msr_entry boot[] = {
	{.index = MSR_IA32_SYSENTER_CS},
	{.index = MSR_IA32_SYSENTER_ESP},
	{.index = MSR_IA32_SYSENTER_EIP},
	{.index = MSR_STAR},
	{.index = MSR_CSTAR},
	{.index = MSR_KERNEL_GS_BASE},
	{.index = MSR_SYSCALL_MASK},
	{.index = MSR_LSTAR},
	{.index = MSR_IA32_TSC},
	{.index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING},
	{.index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_WRITE_BACK},
};

_Static_assert(ARRAY_COUNT(boot) <= KVM_MSRS_MAX, "one KVM_SET_MSRS takes them all");

const struct kvm_msr_entry *msr_boot(size_t *count)
{
	*count = ARRAY_COUNT(boot);
	return boot;
}
