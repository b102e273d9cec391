/* SPDX-License-Identifier: Apache-2.0 */
/* What a vCPU is given before boot, in which order, and the words for why it stopped. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "arch/boot.h"
#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"

enum {
	VCPU_FD = 102
};

static struct {
	struct cpuid_table cpuid;
	struct kvm_fpu fpu;
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_msr_entry msrs[16];
	unsigned msr_count;
	unsigned msrs_refused;
} kvm;

static void record_cpuid(const struct kvm_cpuid2 *cpuid)
{
	kvm.cpuid.count = cpuid->nent;
	memcpy(kvm.cpuid.entry, cpuid->entries, cpuid->nent * sizeof(kvm.cpuid.entry[0]));
}

static int answer(int fd, unsigned long request, void *arg)
{
	cr_assert_eq(fd, VCPU_FD);
	switch (request) {
	case KVM_SET_CPUID2:
		record_cpuid(arg);
		return 0;
	case KVM_SET_MSRS:
		kvm.msr_count = ((struct kvm_msrs *)arg)->nmsrs;
		cr_assert_leq(kvm.msr_count, ARRAY_COUNT(kvm.msrs));
		memcpy(kvm.msrs, ((struct kvm_msrs *)arg)->entries,
		       kvm.msr_count * sizeof(kvm.msrs[0]));
		return (int)(kvm.msr_count - kvm.msrs_refused);
	case KVM_SET_FPU:
		memcpy(&kvm.fpu, arg, sizeof(kvm.fpu));
		return 0;
	case KVM_GET_LAPIC:
		/* As at reset: both pins masked. */
		memset(arg, 0, sizeof(kvm.lapic));
		store_le32((char *)arg + 0x350, 0x10000);
		store_le32((char *)arg + 0x360, 0x10500);
		return 0;
	case KVM_SET_LAPIC:
		memcpy(&kvm.lapic, arg, sizeof(kvm.lapic));
		return 0;
	case KVM_GET_SREGS:
		memset(arg, 0, sizeof(kvm.sregs));
		((struct kvm_sregs *)arg)->apic_base = 0xfee00900;
		return 0;
	case KVM_SET_SREGS:
		memcpy(&kvm.sregs, arg, sizeof(kvm.sregs));
		return 0;
	case KVM_GET_REGS:
		memcpy(arg, &kvm.regs, sizeof(kvm.regs));
		return 0;
	case KVM_SET_REGS:
		memcpy(&kvm.regs, arg, sizeof(kvm.regs));
		return 0;
	default:
		cr_assert_fail("unexpected request 0x%lx", request);
	}
	return -1;
}

static void script(void)
{
	static const unsigned long requests[] = {
		KVM_SET_CPUID2, KVM_SET_MSRS,  KVM_SET_FPU,  KVM_GET_LAPIC, KVM_SET_LAPIC,
		KVM_GET_SREGS,	KVM_SET_SREGS, KVM_GET_REGS, KVM_SET_REGS,
	};

	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		kvm_fake_script(requests[i], answer);
	}
}

static struct arch_vm machine(void)
{
	struct arch_vm vm = {.vcpu_count = 4};

	vm.cpuid.count = 1;
	vm.cpuid.entry[0] = (struct kvm_cpuid_entry2){.function = 1};
	return vm;
}

Test(vcpu, init_sets_cpuid_before_msrs, .init = script)
{
	struct arch_vm vm = machine();
	struct arch_vcpu vcpu;
	struct error err = {0};

	cr_assert_eq(arch_vcpu_init(&vcpu, &vm, VCPU_FD, 3, &err), 0, "%s", err.msg);
	cr_expect_lt(kvm_fake_first(KVM_SET_CPUID2), kvm_fake_first(KVM_SET_MSRS));
	cr_expect_eq(kvm.cpuid.count, 1);
	cr_expect_eq(kvm.cpuid.entry[0].ebx >> 24, 3, "its own APIC id");
}

static const struct kvm_msr_entry boot_msrs[] = {
	{.index = 0x174, .data = 0},	  {.index = 0x175, .data = 0},
	{.index = 0x176, .data = 0},	  {.index = 0xc0000081, .data = 0},
	{.index = 0xc0000083, .data = 0}, {.index = 0xc0000102, .data = 0},
	{.index = 0xc0000084, .data = 0}, {.index = 0xc0000082, .data = 0},
	{.index = 0x10, .data = 0},	  {.index = 0x1a0, .data = 1},
	{.index = 0x2ff, .data = 0x806},
};

Test(vcpu, init_sets_msrs_fpu_and_lapic_pins, .init = script)
{
	struct arch_vm vm = machine();
	struct arch_vcpu vcpu;
	struct error err = {0};

	cr_assert_eq(arch_vcpu_init(&vcpu, &vm, VCPU_FD, 0, &err), 0, "%s", err.msg);
	cr_assert_eq(kvm.msr_count, ARRAY_COUNT(boot_msrs));
	for (size_t i = 0; i < ARRAY_COUNT(boot_msrs); i++) {
		cr_expect_eq(kvm.msrs[i].index, boot_msrs[i].index);
		cr_expect_eq(kvm.msrs[i].data, boot_msrs[i].data);
	}
	cr_expect_eq(kvm.fpu.fcw, 0x37f);
	cr_expect_eq(kvm.fpu.mxcsr, 0x1f80);
	cr_expect_eq(load_le32(kvm.lapic.regs + 0x350), 0x10700, "ExtINT, mask as it was");
	cr_expect_eq(load_le32(kvm.lapic.regs + 0x360), 0x10400, "NMI, mask as it was");
}

Test(vcpu, a_refused_msr_is_named, .init = script)
{
	struct arch_vm vm = machine();
	struct arch_vcpu vcpu;
	struct error err = {0};

	kvm.msrs_refused = 2; /* the last but one is the first that fails */
	cr_assert_eq(arch_vcpu_init(&vcpu, &vm, VCPU_FD, 0, &err), -1);
	cr_assert_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_assert_str_eq(err.msg, "KVM refused to set model-specific register 0x1a0 to 0x1");
}

Test(vcpu, init_fails_with_the_name_of_the_ioctl_that_failed, .init = script)
{
	static const struct {
		unsigned long request;
		const char *name;
	} steps[] = {
		{KVM_SET_CPUID2, "KVM_SET_CPUID2"}, {KVM_SET_MSRS, "KVM_SET_MSRS"},
		{KVM_SET_FPU, "KVM_SET_FPU"},	    {KVM_GET_LAPIC, "KVM_GET_LAPIC"},
		{KVM_SET_LAPIC, "KVM_SET_LAPIC"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		struct arch_vm vm = machine();
		struct arch_vcpu vcpu;
		struct error err = {0};

		kvm_fake_fail(steps[i].request, kvm_fake_count(steps[i].request) + 1, EINVAL);
		cr_expect_eq(arch_vcpu_init(&vcpu, &vm, VCPU_FD, 0, &err), -1);
		cr_expect_neq(strstr(err.msg, steps[i].name), NULL, "%s", err.msg);
	}
}

Test(vcpu, the_boot_processor_gets_the_entry_point, .init = script)
{
	struct arch_vcpu vcpu = {.fd = VCPU_FD, .index = 0};
	const struct boot_info boot = {.protocol = BOOT_PVH, .entry = GPA(0x1000000)};
	struct error err = {0};

	cr_assert_eq(arch_vcpu_set_boot_state(&vcpu, &boot, &err), 0);
	cr_expect_eq(kvm.regs.rip, 0x1000000);
	cr_expect_eq(kvm.regs.rbx, 0x6000);
	cr_expect_eq(kvm.sregs.cr0, 0x11);
	cr_expect_eq(kvm.sregs.apic_base, 0xfee00900, "kept");
}

Test(vcpu, other_processors_wait_for_sipi_as_they_are, .init = script)
{
	struct arch_vcpu vcpu = {.fd = VCPU_FD, .index = 1};
	const struct boot_info boot = {.protocol = BOOT_PVH, .entry = GPA(0x1000000)};
	struct error err = {0};

	cr_assert_eq(arch_vcpu_set_boot_state(&vcpu, &boot, &err), 0);
	cr_expect_eq(kvm_fake_count(KVM_SET_REGS), 0);
	cr_expect_eq(kvm_fake_count(KVM_SET_SREGS), 0);
}

static struct kvm_run emulation_failure(uint32_t ndata, uint64_t flags, uint8_t size)
{
	struct kvm_run run = {.exit_reason = KVM_EXIT_INTERNAL_ERROR};

	run.emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run.emulation_failure.ndata = ndata;
	run.emulation_failure.flags = flags;
	run.emulation_failure.insn_size = size;
	for (unsigned i = 0; i < sizeof(run.emulation_failure.insn_bytes); i++) {
		run.emulation_failure.insn_bytes[i] = (uint8_t)(0xa0 + i);
	}
	return run;
}

static const char *describe(const struct kvm_run *run, uint64_t rip, bool is_interpreted)
{
	static char buf[512];
	struct text text;
	const struct arch_vcpu vcpu = {.fd = VCPU_FD, .is_interpreted = is_interpreted};

	kvm.regs.rip = rip;
	text_init(&text, buf, sizeof(buf));
	arch_vcpu_describe_exit(&vcpu, run, &text);
	return buf;
}

Test(vcpu, an_instruction_that_kvm_can_not_emulate_is_shown, .init = script)
{
	struct kvm_run run = emulation_failure(3, 1, 2);

	cr_expect_str_eq(describe(&run, 0x1234, false),
			 "KVM can't emulate the guest's instruction at rip 0x1234, bytes a0 a1");
	/* More bytes than there are, an old kernel without them, and one that says nothing. */
	run = emulation_failure(3, 1, 200);
	cr_expect_str_eq(describe(&run, 0x1234, false),
			 "KVM can't emulate the guest's instruction at rip 0x1234, bytes a0 a1 a2 "
			 "a3 a4 a5 a6 a7 a8 a9 aa ab ac ad ae");
	run = emulation_failure(3, 0, 2);
	cr_expect_str_eq(describe(&run, 0x1234, false),
			 "KVM can't emulate the guest's instruction at rip 0x1234");
	run = emulation_failure(0, 1, 2);
	cr_expect_str_eq(describe(&run, 0x1234, false),
			 "KVM can't emulate the guest's instruction at rip 0x1234");
}

Test(vcpu, other_reasons_are_told_with_their_numbers, .init = script)
{
	struct kvm_run run = {.exit_reason = KVM_EXIT_SHUTDOWN};

	cr_expect_str_eq(describe(&run, 0x1234, false), "the guest triple-faulted at rip 0x1234");
	cr_expect_str_eq(
		describe(&run, 0xfff0, false),
		"the guest triple-faulted (KVM has reset the vCPU, so where is not known)");
	run.exit_reason = KVM_EXIT_FAIL_ENTRY;
	run.fail_entry.hardware_entry_failure_reason = 0x80000021;
	cr_expect_str_eq(describe(&run, 0x1234, false),
			 "the processor refuses to enter the guest (hardware reason 0x80000021) "
			 "at rip 0x1234");
	run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run.internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
	cr_expect_str_eq(describe(&run, 0x1234, false),
			 "KVM reports internal error 3 at rip 0x1234");
	run.exit_reason = 4711;
	cr_expect_str_eq(describe(&run, 0x1234, false),
			 "KVM returned with unknown exit reason 4711 at rip 0x1234");
}

Test(vcpu, a_host_that_interprets_is_named_as_the_cause, .init = script)
{
	const struct kvm_run run = {.exit_reason = KVM_EXIT_SHUTDOWN};

	cr_expect_neq(strstr(describe(&run, 0x1234, true), "; this host's KVM "), NULL);
	cr_expect_eq(strstr(describe(&run, 0x1234, false), "host"), NULL);
}

Test(vcpu, registers_that_can_not_be_read_are_admitted, .init = script)
{
	const struct kvm_run run = {.exit_reason = KVM_EXIT_SHUTDOWN};

	kvm_fake_fail(KVM_GET_REGS, 1, EBADF);
	cr_expect_str_eq(describe(&run, 0, false),
			 "the guest triple-faulted at an address that KVM doesn't tell");
}
