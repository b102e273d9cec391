/* SPDX-License-Identifier: Apache-2.0 */
/* What a host lacks of a saved guest, by name; and which MSRs are a guest's state. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "arch/state.h"
#include "cpuid.h"
#include "msr.h"
#include "tests/fake/kvm_fake.h"
#include "tests/unit/x86_64/state_kvm.h"
#include "vmm/base/bytes.h"

static struct arch_vcpu_state state;
static char said[2048];

static unsigned explain(void)
{
	struct text text;

	text_init(&text, said, sizeof(said));
	return arch_state_explain(STATE_KVM_FD, &state, &text);
}

static void set_entry(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf,
		      struct cpuid_regs regs)
{
	table->entry[table->count] = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = subleaf,
		.eax = regs.eax,
		.ebx = regs.ebx,
		.ecx = regs.ecx,
		.edx = regs.edx,
	};
	table->count++;
}

static void same_as_host(void)
{
	state_kvm_script();
	state.cpuid = host.supported;
	state.xsave_len = 4096;
}

static const struct {
	uint32_t leaf;
	uint32_t subleaf;
	struct cpuid_regs regs;
	const char *said;
} features[] = {
	{0xd, 1, {.eax = 1 << 3}, "XSAVES (CPUID 0xd.1 EAX bit 3)"},
	{0xd, 1, {.ecx = 1 << 11}, "XSS.CET_U (CPUID 0xd.1 ECX bit 11)"},
	{0xd, 0, {.eax = 1 << 5}, "XCR0.OPMASK (CPUID 0xd.0 EAX bit 5)"},
	{0x7, 1, {.eax = 1 << 4}, "AVX-VNNI (CPUID 0x7.1 EAX bit 4)"},
	{0x7, 1, {.edx = 1 << 14}, "PREFETCHI (CPUID 0x7.1 EDX bit 14)"},
	{0x7, 1, {.ebx = 1 << 30}, "CPUID 0x7.1 EBX bit 30"},
	{0x7, 2, {.edx = 1 << 4}, "BHI_CTRL (CPUID 0x7.2 EDX bit 4)"},
	{0x80000001, 0, {.ecx = 1 << 6}, "SSE4A (CPUID 0x80000001 ECX bit 6)"},
	{0x80000001, 0, {.edx = 1 << 26}, "PDPE1GB (CPUID 0x80000001 EDX bit 26)"},
	{0x80000007, 0, {.edx = 1 << 8}, "INVARIANT_TSC (CPUID 0x80000007 EDX bit 8)"},
	{0x80000008, 0, {.ebx = 1 << 9}, "WBNOINVD (CPUID 0x80000008 EBX bit 9)"},
	{0x80000021, 0, {.eax = 1 << 8}, "AUTOMATIC_IBRS (CPUID 0x80000021 EAX bit 8)"},
	{0x40000001, 0, {.eax = 1 << 6}, "KVM_PV_EOI (CPUID 0x40000001 EAX bit 6)"},
	{0x24, 0, {.ebx = 1 << 18}, "AVX10/512 (CPUID 0x24.0 EBX bit 18)"},
	{0x24, 0, {.ebx = 2}, "a version of AVX10 of 2 (the host has 0)"},
	{0x80000008, 0, {.eax = 52}, "a width of physical addresses of 52 (the host has 0)"},
	{0x80000008, 0, {.eax = 57 << 8}, "a width of linear addresses of 57 (the host has 0)"},
	/* Not what KVM sets by the guest's own registers, or squib on any host. */
	{0x80000001, 0, {.ecx = 1 << 22}, ""},
	{0x80000008, 0, {.ecx = 0xff}, ""},
};

Test(explain, a_feature_that_the_host_lacks_is_named, .init = same_as_host)
{
	for (size_t i = 0; i < ARRAY_COUNT(features); i++) {
		state.cpuid = host.supported;
		set_entry(&state.cpuid, features[i].leaf, features[i].subleaf, features[i].regs);
		cr_expect_eq(explain(), features[i].said[0] != '\0' ? 1 : 0);
		cr_expect_str_eq(said, features[i].said);
	}
}

Test(explain, several_are_a_list, .init = same_as_host)
{
	state.cpuid.entry[1].ecx |= 1 << 12;
	state.cpuid.entry[2].ebx |= 1 << 16 | 1 << 22;
	state.cpuid.entry[2].edx |= 1 << 24;
	cr_expect_eq(explain(), 4);
	cr_expect_str_eq(said,
			 "FMA (CPUID 0x1 ECX bit 12), AVX512F (CPUID 0x7.0 EBX bit 16), "
			 "PCOMMIT (CPUID 0x7.0 EBX bit 22), AMX-TILE (CPUID 0x7.0 EDX bit 24)");
}

Test(explain, bits_that_any_host_can_give_are_not_features, .init = same_as_host)
{
	state.cpuid.entry[1].ecx |= UINT32_C(1) << 3 | 1 << 24 | 1 << 27 | UINT32_C(1) << 31;
	state.cpuid.entry[1].edx |= 1 << 28;
	state.cpuid.entry[1].ebx = 0x07080800;
	state.cpuid.entry[2].ebx |= 1 << 6 | 1 << 13;
	state.cpuid.entry[2].ecx |= 1 << 4;
	set_entry(&state.cpuid, 0xb, 0, (struct cpuid_regs){1, 2, 0x100, 1});
	cr_expect_eq(explain(), 0, "%s", said);
}

Test(explain, a_host_with_more_will_do, .init = same_as_host)
{
	host.supported.entry[1].ecx = UINT32_MAX;
	host.supported.entry[2].ebx = UINT32_MAX;
	set_entry(&host.supported, 0x80000008, 0, (struct cpuid_regs){0x3034, 1, 0, 0});
	set_entry(&state.cpuid, 0x80000008, 0, (struct cpuid_regs){0x3030, 1, 0, 0});
	cr_expect_eq(explain(), 0, "%s", said);
}

static struct cpuid_regs host_cpuid(uint32_t leaf, uint32_t subleaf)
{
	/* caches of each level, and what is there of the rest */
	return (struct cpuid_regs){leaf == 0x8000001d && subleaf < 4 ? 0x121 : 0, UINT32_MAX,
				   UINT32_MAX, UINT32_MAX};
}

/* Whatever this host can do is what KVM lists, and what squib makes of it must load here. */
static void expect_own_loads(const char vendor[static 12])
{
	const struct arch_machine machine = {.vcpu_count = 8, .smt = true};
	struct error err = {0};

	host.supported.entry[0].ebx = load_le32(vendor);
	host.supported.entry[0].edx = load_le32(vendor + 4);
	host.supported.entry[0].ecx = load_le32(vendor + 8);
	set_entry(&host.supported, 0x80000001, 0, (struct cpuid_regs){0, 0, 0x393, 0x23d3fbff});
	set_entry(&host.supported, 0x80000008, 0, (struct cpuid_regs){0x3030, 5, 0x7001, 0});
	set_entry(&host.supported, 0x40000001, 0, (struct cpuid_regs){0x1007efb, 0, 0, 0});
	state.cpuid = host.supported;
	cr_assert_eq(cpuid_normalise(&state.cpuid, &machine, host_cpuid, &err), 0);
	cpuid_set_vcpu(&state.cpuid, true, 7);
	cr_expect_eq(explain(), 0, "%s", said);
}

Test(explain, what_squib_makes_of_a_host_loads_there, .init = same_as_host)
{
	expect_own_loads("GenuineIntel");
	same_as_host();
	expect_own_loads("AuthenticAMD");
}

Test(explain, another_vendor_is_told, .init = same_as_host)
{
	memcpy(&state.cpuid.entry[0].ebx, "Genu", 4);
	memcpy(&state.cpuid.entry[0].edx, "ineI", 4);
	memcpy(&state.cpuid.entry[0].ecx, "ntel", 4);
	memcpy(&host.supported.entry[0].ebx, "Auth", 4);
	memcpy(&host.supported.entry[0].edx, "enti", 4);
	memcpy(&host.supported.entry[0].ecx, "\x1b[AD", 4);
	cr_expect_eq(explain(), 1);
	cr_expect_str_eq(said, "a processor of vendor GenuineIntel (the host has Authenti?[AD)");
}

Test(explain, a_larger_xsave_area_is_told, .init = same_as_host)
{
	state.xsave_len = 11008;
	cr_expect_eq(explain(), 1);
	cr_expect_str_eq(said, "an XSAVE area of 11008 bytes (the host has 4096)");
}

Test(explain, a_tsc_that_can_not_be_scaled_is_told, .init = same_as_host)
{
	const unsigned fds = kvm_fake_open_fds();

	state.tsc_khz = 2600000;
	cr_expect_eq(explain(), 0, "it is scaled");
	host.tsc_control = false;
	cr_expect_eq(explain(), 1);
	cr_expect_str_eq(said, "a TSC of 2600000 kHz (the host's runs at 2000000 kHz)");
	state.tsc_khz = 2000100;
	cr_expect_eq(explain(), 0, "that is close enough");
	state.tsc_khz = 0;
	cr_expect_eq(explain(), 0, "not known");
	state.tsc_khz = 2600000;
	host.tsc_khz = 0;
	cr_expect_eq(explain(), 0, "not known");
	cr_expect_eq(kvm_fake_open_fds(), fds);
}

Test(explain, an_msr_that_the_host_does_not_have_is_named, .init = same_as_host)
{
	static const uint32_t indexes[] = {0x10, 0x6a2, 0x2ff, 0x401, 0xc0010020};

	for (size_t i = 0; i < ARRAY_COUNT(indexes); i++) {
		state.msrs[i].index = indexes[i];
	}
	state.msr_count = ARRAY_COUNT(indexes);
	cr_expect_eq(explain(), 2);
	cr_expect_str_eq(said, "IA32_S_CET (MSR 0x6a2), MSR 0xc0010020");
}

Test(explain, a_host_that_does_not_answer_lacks_everything, .init = same_as_host)
{
	kvm_fake_fail(KVM_GET_SUPPORTED_CPUID, 1, EIO);
	cr_expect_eq(explain(), 1);
	cr_expect_neq(strstr(said, "KVM_GET_SUPPORTED_CPUID failed"), NULL, "%s", said);
	kvm_fake_fail(KVM_GET_MSR_INDEX_LIST, 1, EIO);
	cr_expect_eq(explain(), 1);
	cr_expect_neq(strstr(said, "KVM_GET_MSR_INDEX_LIST failed"), NULL, "%s", said);
}

Test(explain, the_list_ends_where_the_text_does, .init = same_as_host)
{
	char small[16];
	struct text text;

	state.cpuid.entry[2].ebx = UINT32_MAX;
	text_init(&text, small, sizeof(small));
	cr_expect_gt(arch_state_explain(STATE_KVM_FD, &state, &text), 20);
	cr_expect_eq(strlen(small), sizeof(small) - 1);
}

/* --- Which MSRs are a guest's state --- */

static const struct {
	uint32_t index;
	bool is_state;
} listed[] = {
	{0x10, true},	     {0x11, false},	  {0x49, false},       {0xc1, false},
	{0x10a, true},	     {0x10b, false},	  {0x17a, true},       {0x17b, false},
	{0x18d, false},	     {0x1c4, true},	  {0x1d9, true},       {0x1db, false},
	{0x309, false},	     {0x345, false},	  {0x480, false},      {0x6a0, true},
	{0x6a8, true},	     {0x6e0, true},	  {0xda0, true},       {0x40000000, false},
	{0x400001ff, false}, {0x4b564d00, false}, {0x4b564d01, true},  {0x4b564d05, true},
	{0xc0000102, true},  {0xc0000104, false}, {0xc0010117, false}, {0xc001020b, false},
	{0xc001011f, true},  {0x12345, true}, /* of a KVM to come */
};

Test(explain, a_guest_has_all_msrs_but_those_it_has_no_feature_for, .init = state_kvm_script)
{
	struct msr_list list;
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_COUNT(listed); i++) {
		host.msrs[i].index = listed[i].index;
	}
	host.msr_count = ARRAY_COUNT(listed);
	cr_assert_eq(msr_list_to_save(STATE_KVM_FD, NULL, &list, &err), 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(listed); i++) {
		cr_expect_eq(msr_list_has(&list, listed[i].index), listed[i].is_state, "0x%x",
			     listed[i].index);
	}
	cr_expect(msr_list_has(&list, 0x200) && msr_list_has(&list, 0x20f));
	cr_expect(msr_list_has(&list, 0x400) && msr_list_has(&list, 0x47f));
	cr_expect_not(msr_list_has(&list, 0x210));
}

static int too_many(int fd, unsigned long request, void *arg)
{
	struct kvm_msr_list *list = arg;

	(void)fd;
	(void)request;
	for (uint32_t i = 0; i < MSR_LIST_MAX; i++) {
		list->indices[i] = 0x20000 + i;
	}
	list->nmsrs = MSR_LIST_MAX;
	return 0;
}

Test(explain, more_msrs_than_a_state_can_have_are_an_error, .init = state_kvm_script)
{
	struct msr_list list;
	struct error err = {0};

	kvm_fake_script(KVM_GET_MSR_INDEX_LIST, too_many);
	cr_assert_eq(msr_list_to_save(STATE_KVM_FD, NULL, &list, &err), -1);
	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_neq(strstr(err.msg, "more model-specific registers than the 512"), NULL, "%s",
		      err.msg);
}
