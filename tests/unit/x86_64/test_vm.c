/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's shape, what it asks of KVM, and in which order. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/pci.h"
#include "arch/device_memory.h"
#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"

enum {
	KVM_FD = 100,
	VM_FD = 101
};

static const struct {
	uint64_t len;
	size_t count;
	uint64_t last_base;
	uint64_t last_len;
} rams[] = {
	{MIB, 1, 0, MIB},
	{3 * GIB, 1, 0, 3 * GIB},
	{3 * GIB + MIB, 2, 4 * GIB, MIB},
	{255 * GIB, 2, 4 * GIB, 252 * GIB},
	{255 * GIB + MIB, 3, 512 * GIB, MIB},
	{1024 * GIB, 3, 512 * GIB, 769 * GIB},
	{UINT64_MAX, 0, 0, 0},
};

Test(vm, memory_that_is_plugged_in_is_above_the_ram)
{
	static const struct {
		uint64_t ram;
		uint64_t len;
		uint64_t align;
		uint64_t base; /* 0: there is no room */
	} cases[] = {
		{128 * MIB, GIB, 128 * MIB, 512 * GIB},
		{300 * GIB, GIB, 128 * MIB, 557 * GIB},
		{255 * GIB + MIB, GIB, 128 * MIB, 512 * GIB + 128 * MIB},
		{255 * GIB + MIB, GIB, GIB, 513 * GIB},
		{128 * MIB, 512 * GIB, 128 * MIB, 512 * GIB},
		{128 * MIB, 512 * GIB + 128 * MIB, 128 * MIB, 0},
		{128 * MIB, UINT64_MAX & ~(128 * MIB - 1), 128 * MIB, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct gmem_range ram[ARCH_RAM_RANGES_MAX];
		size_t count = arch_ram_ranges(cases[i].ram, ram);
		struct gmem_range range;
		bool fits = device_memory_place(ram, count, cases[i].len, cases[i].align, &range);

		cr_expect_eq(fits, cases[i].base != 0, "case %zu", i);
		if (fits) {
			cr_expect_eq(range.base.v, cases[i].base, "case %zu", i);
			cr_expect_eq(range.len, cases[i].len);
		}
	}
}

Test(vm, ram_avoids_both_mmio_gaps)
{
	for (size_t i = 0; i < ARRAY_COUNT(rams); i++) {
		struct gmem_range ranges[ARCH_RAM_RANGES_MAX];
		const size_t count = arch_ram_ranges(rams[i].len, ranges);
		uint64_t sum = 0;

		cr_assert_eq(count, rams[i].count, "%lu", rams[i].len);
		for (size_t r = 0; r < count; r++) {
			sum += ranges[r].len;
		}
		if (count > 0) {
			cr_expect_eq(sum, rams[i].len);
			cr_expect_eq(ranges[count - 1].base.v, rams[i].last_base);
			cr_expect_eq(ranges[count - 1].len, rams[i].last_len);
		}
	}
}

Test(vm, fixed_devices_are_where_guests_look_for_them)
{
	static const struct platform_dev expected[] = {
		{.kind = PLATFORM_BOOT_TIMER,
		 .bus = BUS_MMIO,
		 .base = 0xc0000000,
		 .len = 0x1000,
		 .gsi = PLATFORM_NO_GSI},
		{.kind = PLATFORM_SERIAL, .bus = BUS_PIO, .base = 0x3f8, .len = 8, .gsi = 4},
		{.kind = PLATFORM_I8042, .bus = BUS_PIO, .base = 0x60, .len = 5, .gsi = 1},
		{.kind = PLATFORM_ACPI_SLEEP,
		 .bus = BUS_PIO,
		 .base = 0x600,
		 .len = 2,
		 .gsi = PLATFORM_NO_GSI},
		{.kind = PLATFORM_VMGENID, .bus = BUS_RAM, .base = 0xdfff0, .len = 16, .gsi = 22},
		{.kind = PLATFORM_VMCLOCK,
		 .bus = BUS_RAM,
		 .base = 0xde000,
		 .len = 0x1000,
		 .gsi = 23},
	};
	size_t count;
	const struct platform_dev *slots = arch_platform_slots(&count);

	cr_assert_eq(count, ARRAY_COUNT(expected));
	for (size_t i = 0; i < count; i++) {
		cr_expect_eq(slots[i].kind, expected[i].kind);
		cr_expect_eq(slots[i].bus, expected[i].bus);
		cr_expect_eq(slots[i].base, expected[i].base);
		cr_expect_eq(slots[i].len, expected[i].len);
		cr_expect_eq(slots[i].gsi, expected[i].gsi);
	}
}

Test(vm, virtio_devices_count_up_from_the_first_window_and_pin)
{
	struct platform_dev dev;

	for (size_t i = 0; i < 17; i++) {
		cr_assert(arch_virtio_slot(i, &dev), "%zu", i);
		cr_expect(dev.kind == PLATFORM_VIRTIO_MMIO && dev.bus == BUS_MMIO);
		cr_expect_eq(dev.base, 0xc0001000 + i * 0x1000);
		cr_expect_eq(dev.len, 0x1000);
		cr_expect_eq(dev.gsi, (int)(5 + i));
	}
	cr_expect_not(arch_virtio_slot(17, &dev));
	cr_expect_not(arch_virtio_slot(SIZE_MAX, &dev));
}

Test(vm, the_default_command_line_is_the_known_one)
{
	cr_assert_str_eq(arch_cmdline_default,
			 "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux "
			 "i8042.dumbkbd swiotlb=noforce");
	cr_assert_str_eq(arch_name, "x86_64");
	cr_assert_eq(arch_vm_type(KVM_FD), 0);
}

Test(vm, a_host_with_all_capabilities_will_do)
{
	struct error err = {0};

	cr_assert_eq(arch_check_host(KVM_FD, NULL, &err), 0);
	cr_assert_eq(kvm_fake_count(KVM_CHECK_EXTENSION), 14);
}

static int lacks_pit(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	return (uintptr_t)arg != KVM_CAP_PIT2 && (uintptr_t)arg != KVM_CAP_XCRS;
}

Test(vm, the_first_missing_capability_is_named)
{
	struct error err = {0};

	kvm_fake_script(KVM_CHECK_EXTENSION, lacks_pit);
	cr_assert_eq(arch_check_host(KVM_FD, NULL, &err), -1);
	cr_assert_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_assert_neq(strstr(err.msg, "KVM_CAP_PIT2,"), NULL, "%s", err.msg);
}

static int supported_cpuid(int fd, unsigned long request, void *arg)
{
	struct kvm_cpuid2 *cpuid = arg;

	(void)request;
	cr_assert_eq(fd, KVM_FD);
	cr_assert_eq(cpuid->nent, CPUID_ENTRIES_MAX);
	cpuid->nent = 1;
	cpuid->entries[0] = (struct kvm_cpuid_entry2){.function = 1};
	return 0;
}

static int pit(int fd, unsigned long request, void *arg)
{
	const struct kvm_pit_config *config = arg;

	(void)request;
	cr_assert_eq(fd, VM_FD);
	cr_assert_eq(config->flags, KVM_PIT_SPEAKER_DUMMY);
	return 0;
}

/* An input that is open when no driver has come yet reaches the guest as a fault. */
static int masked_pic(int fd, unsigned long request, void *arg)
{
	const struct kvm_irqchip *chip = arg;

	(void)fd;
	(void)request;
	cr_expect_lt(chip->chip_id, 2);
	cr_expect_eq(chip->chip.pic.imr, 0xff);
	cr_expect_eq(chip->chip.pic.elcr_mask, chip->chip_id == 0 ? 0xf8 : 0xde);
	return 0;
}

static const struct arch_machine four = {.vcpu_count = 4, .smt = true};

Test(vm, init_makes_the_irqchip_before_the_pit)
{
	const struct kvm_fake_call *calls;
	struct arch_vm vm;
	struct error err = {0};

	kvm_fake_script(KVM_GET_SUPPORTED_CPUID, supported_cpuid);
	kvm_fake_script(KVM_CREATE_PIT2, pit);
	kvm_fake_script(KVM_SET_IRQCHIP, masked_pic);
	cr_assert_eq(arch_vm_init(&vm, KVM_FD, VM_FD, &four, &err), 0, "%s", err.msg);
	cr_expect_lt(kvm_fake_first(KVM_CREATE_IRQCHIP), kvm_fake_first(KVM_CREATE_PIT2));
	cr_expect_eq(kvm_fake_count(KVM_CREATE_PIT2), 1);
	cr_expect_lt(kvm_fake_first(KVM_CREATE_IRQCHIP), kvm_fake_first(KVM_SET_IRQCHIP));
	cr_expect_eq(kvm_fake_count(KVM_SET_IRQCHIP), 2);
	kvm_fake_calls(&calls);
	cr_expect_eq(calls[kvm_fake_first(KVM_SET_TSS_ADDR)].arg, 0xfffbd000);
	cr_expect_eq(calls[kvm_fake_first(KVM_SET_TSS_ADDR)].fd, VM_FD);
	cr_expect_eq(vm.vcpu_count, 4);
	cr_expect(vm.smt);
	cr_expect_gt(vm.cpuid.count, 1, "normalised");
	cr_expect_eq(arch_vm_finish(&vm, &err), 0);
	arch_vm_destroy(&vm);
	cr_expect_eq(vm.vcpu_count, 0);
	arch_vm_destroy(&vm);
}

Test(vm, init_fails_with_the_name_of_the_ioctl_that_failed)
{
	static const struct {
		unsigned long request;
		const char *name;
	} steps[] = {
		{KVM_GET_SUPPORTED_CPUID, "KVM_GET_SUPPORTED_CPUID"},
		{KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR"},
		{KVM_CREATE_IRQCHIP, "KVM_CREATE_IRQCHIP"},
		{KVM_SET_IRQCHIP, "KVM_SET_IRQCHIP"},
		{KVM_CREATE_PIT2, "KVM_CREATE_PIT2"},
	};

	kvm_fake_script(KVM_GET_SUPPORTED_CPUID, supported_cpuid);
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		struct arch_vm vm;
		struct error err = {0};

		kvm_fake_fail(steps[i].request, kvm_fake_count(steps[i].request) + 1, ENOSPC);
		cr_expect_eq(arch_vm_init(&vm, KVM_FD, VM_FD, &four, &err), -1);
		cr_expect_neq(strstr(err.msg, steps[i].name), NULL, "%s", err.msg);
		cr_expect_eq(err.sys, ENOSPC);
		arch_vm_destroy(&vm);
	}
}

/* As in arch/x86/kvm/irq_comm.c: what KVM's own first table has is not to be lost. */
Test(vm, routes_to_pins_are_those_of_a_new_vm)
{
	struct kvm_irq_routing_entry routes[ARCH_IRQCHIP_ROUTES_MAX];
	const size_t count = arch_irqchip_routes(routes);
	uint32_t ioapic = 0;
	uint32_t pic = 0;

	cr_assert_eq(count, 24 + 16);
	for (size_t i = 0; i < count; i++) {
		const struct kvm_irq_routing_entry *route = &routes[i];

		cr_expect_eq(route->type, KVM_IRQ_ROUTING_IRQCHIP);
		if (route->u.irqchip.irqchip == KVM_IRQCHIP_IOAPIC) {
			cr_expect(route->gsi == ioapic && route->u.irqchip.pin == ioapic);
			ioapic++;
		} else {
			cr_expect(route->gsi == pic && route->u.irqchip.pin == pic % 8);
			cr_expect_eq(route->u.irqchip.irqchip,
				     pic < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE);
			pic++;
		}
	}
	cr_expect(ioapic == 24 && pic == 16 && arch_pci.msi_gsi == 24);
}
