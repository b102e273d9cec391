/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/vcpu.c: features, boot registers, and the sentences about exits. */
#include "arch/boot.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/aarch64/kvm_arm.h"
#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"

enum {
	VM = 101,
	VCPU = 102
};

static const uint64_t fake_mpidr = UINT64_C(0x80000102);
static const uint64_t fake_pc = UINT64_C(0xffff800008123456);

static struct kvm_vcpu_init inited;
static struct {
	uint64_t id;
	uint64_t value;
} set_regs[8];
static size_t set_count;

static int answer_target(int fd, unsigned long request, void *arg)
{
	struct kvm_vcpu_init *init = arg;

	(void)request;
	cr_expect_eq(fd, VM);
	*init = (struct kvm_vcpu_init){.target = KVM_ARM_TARGET_GENERIC_V8, .features = {[1] = 4}};
	return 0;
}

static int answer_init(int fd, unsigned long request, void *arg)
{
	(void)request;
	cr_expect_eq(fd, VCPU);
	memcpy(&inited, arg, sizeof(inited));
	return 0;
}

static int answer_get(int fd, unsigned long request, void *arg)
{
	const struct kvm_one_reg *reg = arg;
	uint64_t value = 0;

	(void)request;
	cr_expect_eq(fd, VCPU);
	switch (reg->id) {
	/* Ids as strace shows them, so that a wrong macro is seen. */
	case 0x603000000013c005:
		value = fake_mpidr;
		break;
	case 0x6030000000100040:
		value = fake_pc;
		break;
	case 0x603000000013c290:
		value = 0x96000010;
		break;
	default:
		errno = ENOENT;
		return -1;
	}
	memcpy((void *)(uintptr_t)reg->addr, &value, sizeof(value)); // NOLINT
	return 0;
}

static int answer_set(int fd, unsigned long request, void *arg)
{
	const struct kvm_one_reg *reg = arg;

	(void)request;
	cr_expect_eq(fd, VCPU);
	set_regs[set_count].id = reg->id;
	memcpy(&set_regs[set_count++].value, (const void *)(uintptr_t)reg->addr, 8); // NOLINT
	return 0;
}

static void script(void)
{
	kvm_fake_script(KVM_ARM_PREFERRED_TARGET, answer_target);
	kvm_fake_script(KVM_ARM_VCPU_INIT, answer_init);
	kvm_fake_script(KVM_GET_ONE_REG, answer_get);
	kvm_fake_script(KVM_SET_ONE_REG, answer_set);
}

Test(vcpu, only_the_first_vcpu_is_powered_on)
{
	for (unsigned index = 0; index < 3; index++) {
		struct arch_vm vm = {.fd = VM, .vcpu_count = 3};
		struct arch_vcpu vcpu;
		struct error err = {0};
		uint32_t psci = UINT32_C(1) << KVM_ARM_VCPU_PSCI_0_2;
		uint32_t off = UINT32_C(1) << KVM_ARM_VCPU_POWER_OFF;

		script();
		cr_assert_eq(arch_vcpu_init(&vcpu, &vm, VCPU, index, &err), 0);
		cr_expect_eq(inited.target, KVM_ARM_TARGET_GENERIC_V8);
		cr_expect_eq(inited.features[0], index == 0 ? psci : (psci | off));
		cr_expect_eq(inited.features[1], 4, "what KVM prefers is kept");
		cr_expect_eq(vm.mpidr[index], fake_mpidr);
	}
}

Test(vcpu, a_failing_step_of_the_init_is_an_error)
{
	static const unsigned long requests[] = {KVM_ARM_PREFERRED_TARGET, KVM_ARM_VCPU_INIT,
						 KVM_GET_ONE_REG};

	script();
	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		struct arch_vm vm = {.fd = VM};
		struct arch_vcpu vcpu;
		struct error err = {0};

		kvm_fake_fail(requests[i], kvm_fake_count(requests[i]) + 1, EINVAL);
		cr_expect_eq(arch_vcpu_init(&vcpu, &vm, VCPU, 0, &err), -1);
		cr_expect_eq(err.sys, EINVAL);
	}
}

static struct boot_info boot_of_128_mib(void)
{
	struct boot_info boot = {.entry = GPA(0x80280000)};

	boot.ram_count = arch_ram_ranges(128 * MIB, boot.ram);
	return boot;
}

Test(vcpu, the_first_one_starts_at_the_kernel_with_the_fdt)
{
	static const struct {
		uint64_t id;
		uint64_t value;
	} expected[] = {
		{0x6030000000100042, 0x3c5},	  /* PSTATE */
		{0x6030000000100040, 0x80280000}, /* PC */
		{0x6030000000100000, 0x87e00000}, /* X0 */
		{0x603000000013df01, 0},	  /* CNTPCT_EL0 */
	};
	struct boot_info boot = boot_of_128_mib();

	for (size_t i = 0; i <= 1; i++) {
		struct arch_vcpu vcpu = {.fd = VCPU, .has_counter_offset = i == 1};
		struct error err = {0};

		script();
		set_count = 0;
		cr_assert_eq(arch_vcpu_set_boot_state(&vcpu, &boot, &err), 0);
		cr_assert_eq(set_count, 3 + i);
		for (size_t j = 0; j < set_count; j++) {
			cr_expect_eq(set_regs[j].id, expected[j].id, "%zu", j);
			cr_expect_eq(set_regs[j].value, expected[j].value, "%zu", j);
		}
	}
}

Test(vcpu, the_others_are_left_to_psci)
{
	struct boot_info boot = boot_of_128_mib();
	struct arch_vcpu vcpu = {.fd = VCPU, .index = 1, .has_counter_offset = true};
	struct error err = {0};

	script();
	cr_assert_eq(arch_vcpu_set_boot_state(&vcpu, &boot, &err), 0);
	cr_assert_eq(set_count, 0);
}

Test(vcpu, a_register_that_cannot_be_set_is_named)
{
	struct boot_info boot = boot_of_128_mib();
	struct arch_vcpu vcpu = {.fd = VCPU};
	struct error err = {0};

	script();
	kvm_fake_fail(KVM_SET_ONE_REG, 2, EINVAL);
	cr_assert_eq(arch_vcpu_set_boot_state(&vcpu, &boot, &err), -1);
	cr_assert_not_null(strstr(err.msg, "Cannot set register PC"), "%s", err.msg);
}

Test(vcpu, an_exit_is_explained_with_its_registers)
{
	static const struct {
		struct kvm_run run;
		const char *sentence;
	} cases[] = {
		{{.exit_reason = KVM_EXIT_ARM_NISV,
		  .arm_nisv = {.esr_iss = 0x4f, .fault_ipa = 0x40009000}},
		 "the guest accessed 0x40009000, where no memory is, with an instruction that the "
		 "processor does not decode for the host (syndrome 0x4f)"},
		{{.exit_reason = KVM_EXIT_FAIL_ENTRY,
		  .fail_entry = {KVM_EXIT_FAIL_ENTRY_CPU_UNSUPPORTED, 7}},
		 "the host's CPU 7 is of a kind that cannot run it; keep squib's threads on CPUs "
		 "of one kind"},
		{{.exit_reason = KVM_EXIT_FAIL_ENTRY, .fail_entry = {0x10, 7}},
		 "the host's CPU 7 refused to enter the guest, reason 0x10"},
		{{.exit_reason = KVM_EXIT_INTERNAL_ERROR, .internal = {.suberror = 4}},
		 "the host's KVM failed internally, suberror 4"},
		{{.exit_reason = 12345},
		 "the host's KVM gave exit reason 12345, which squib does not know"},
	};
	const struct arch_vcpu vcpu = {.fd = VCPU};

	script();
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char expected[512];
		char buf[512];
		struct text text;

		snprintf(expected, sizeof(expected),
			 "%s; PC 0xffff800008123456, ESR_EL1 0x96000010", cases[i].sentence);
		text_init(&text, buf, sizeof(buf));
		arch_vcpu_describe_exit(&vcpu, &cases[i].run, &text);
		cr_expect_str_eq(buf, expected, "%s", buf);
	}
}

Test(vcpu, an_explanation_survives_unreadable_registers)
{
	const struct arch_vcpu vcpu = {.fd = VCPU};
	const struct kvm_run run = {.exit_reason = KVM_EXIT_INTERNAL_ERROR};
	char buf[128];
	struct text text;

	script();
	kvm_fake_fail(KVM_GET_ONE_REG, 1, EBADF);
	text_init(&text, buf, sizeof(buf));
	arch_vcpu_describe_exit(&vcpu, &run, &text);
	cr_expect_str_eq(buf, "the host's KVM failed internally, suberror 0; ESR_EL1 0x96000010",
			 "%s", buf);
}
