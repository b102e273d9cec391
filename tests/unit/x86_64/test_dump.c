/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest finds its processor to be, on a scripted KVM. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "arch/template.h"
#include "kvm_x86.h"
#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	VCPU_FD = 102
};

static const char *vendor;
static bool is_old; /* a kernel that leaves the count of entries as it was */

static int give_cpuid(int fd, unsigned long request, void *arg)
{
	struct cpuid_table *table = arg;

	(void)request;
	cr_expect_eq(fd, VCPU_FD);
	table->count = is_old ? table->count : 3;
	table->entry[0] = (struct kvm_cpuid_entry2){.function = 7, .index = 1, .flags = 1};
	table->entry[1] = (struct kvm_cpuid_entry2){.function = 7, .flags = 1, .ebx = 5};
	table->entry[2] = (struct kvm_cpuid_entry2){.function = 0};
	memcpy(&table->entry[2].ebx, vendor, 4);
	memcpy(&table->entry[2].edx, vendor + 4, 4);
	memcpy(&table->entry[2].ecx, vendor + 8, 4);
	return 0;
}

/* Each register has its number, but for one that the vCPU lacks. */
static int give_msrs(int fd, unsigned long request, void *arg)
{
	struct kvm_msrs *msrs = arg;

	(void)request;
	cr_expect_eq(fd, VCPU_FD);
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		if (msrs->entries[i].index == 0x122) {
			return (int)i;
		}
		msrs->entries[i].data = msrs->entries[i].index;
	}
	return (int)msrs->nmsrs;
}

static struct arch_vm vm_with(const struct cpu_template *cpu_template)
{
	return (struct arch_vm){
		.cpu_template = cpu_template,
		.msrs = {.count = 8,
			 .index = {0x8b, 0x122, 0x10, 0x10a, 0x400, 0xc0000081, 0x2ff, 0xc0010001}},
	};
}

static struct cpu_template_block *dump(const struct cpu_template *cpu_template)
{
	const struct arch_vm vm = vm_with(cpu_template);
	const struct arch_vcpu vcpu = {.fd = VCPU_FD, .vm = &vm};
	struct cpu_template_block *made = NULL;
	struct error err = {0};

	kvm_fake_script(KVM_GET_CPUID2, give_cpuid);
	kvm_fake_script(KVM_GET_MSRS, give_msrs);
	cr_assert_eq(arch_dump_cpu(&vcpu, &made, &err), 0, "%s", err.msg);
	return made;
}

static void expect_registers(const struct cpu_template_block *made, const uint32_t *wanted,
			     size_t count)
{
	cr_assert_eq(made->bits.register_count, count);
	for (size_t i = 0; i < count; i++) {
		cr_expect_eq(made->registers[i].id, wanted[i]);
		cr_expect_eq(made->registers[i].bits.value[0], wanted[i]);
		cr_expect_eq(made->registers[i].bits.mask[0], UINT64_MAX);
		cr_expect_eq(made->registers[i].bits.mask[1], 0);
	}
}

Test(dump, all_bits_are_named_in_order)
{
	static const uint32_t wanted[] = {0x8b, 0x10a, 0xc0000081};

	vendor = "GenuineIntel";
	AUTO_FREE struct cpu_template_block *made = dump(NULL);

	expect_registers(made, wanted, ARRAY_COUNT(wanted));
	cr_assert_eq(made->bits.leaf_count, 3);
	cr_expect_eq(made->leaves[0].leaf, 0);
	cr_expect(made->leaves[1].leaf == 7 && made->leaves[1].subleaf == 0);
	cr_expect(made->leaves[1].regs[1].value == 5 && made->leaves[1].regs[1].mask == UINT32_MAX);
	cr_expect(made->leaves[2].subleaf == 1 && made->leaves[2].flags == 1);
}

Test(dump, a_kernel_that_does_not_count_the_leaves_has_no_empty_ones)
{
	vendor = "AuthenticAMD";
	is_old = true;
	AUTO_FREE struct cpu_template_block *made = dump(NULL);

	cr_assert_eq(made->bits.leaf_count, 3);
	cr_expect_eq(made->leaves[0].leaf, 0);
	cr_expect_neq(made->leaves[0].regs[1].value, 0);
}

Test(dump, what_kvm_emulates_for_amd_is_left_out)
{
	static const uint32_t wanted[] = {0x8b, 0xc0000081};

	vendor = "AuthenticAMD";
	AUTO_FREE struct cpu_template_block *made = dump(NULL);

	expect_registers(made, wanted, ARRAY_COUNT(wanted));
}

Test(dump, what_the_template_names_is_there)
{
	static const uint32_t wanted[] = {0x8b, 0x10a, 0x400, 0xc0000081};
	static const struct cpu_template_register named[] = {{0x10a, {{1}, {1}}},
							     {0x400, {{1}, {1}}}};
	const struct cpu_template cpu_template = {.registers = named, .register_count = 2};

	vendor = "AuthenticAMD";
	AUTO_FREE struct cpu_template_block *made = dump(&cpu_template);

	expect_registers(made, wanted, ARRAY_COUNT(wanted));
}

Test(dump, a_kvm_that_fails_is_told)
{
	const struct arch_vm vm = vm_with(NULL);
	const struct arch_vcpu vcpu = {.fd = VCPU_FD, .vm = &vm};
	struct cpu_template_block *made = NULL;
	struct error err = {0};

	vendor = "GenuineIntel";
	kvm_fake_script(KVM_GET_CPUID2, give_cpuid);
	kvm_fake_fail(KVM_GET_MSRS, 1, EIO);
	cr_expect_eq(arch_dump_cpu(&vcpu, &made, &err), -1);
	cr_expect_neq(strstr(err.msg, "KVM_GET_MSRS"), NULL, "%s", err.msg);
}
