/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/vm.c: the memory map, the slots, and what KVM is asked. */
#include "arch/arch.h"
#include "arch/pci.h"
#include "arch/device_memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/eventfd.h>

#include "arch/aarch64/kvm_arm.h"
#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"

enum {
	KVM = 100,
	VM = 101
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
		{300 * GIB, GIB, 128 * MIB, 558 * GIB},
		{254 * GIB + MIB, GIB, 128 * MIB, 512 * GIB + 128 * MIB},
		{254 * GIB + MIB, GIB, GIB, 513 * GIB},
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

Test(vm, ram_leaves_the_hole_free)
{
	static const struct {
		uint64_t len;
		size_t count;
		uint64_t low;
		uint64_t high;
	} cases[] = {
		{1 * MIB, 1, 1 * MIB, 0},
		{128 * MIB, 1, 128 * MIB, 0},
		{254 * GIB, 1, 254 * GIB, 0},
		{254 * GIB + MIB, 2, 254 * GIB, MIB},
		{1022 * GIB, 2, 254 * GIB, 768 * GIB},
		{1022 * GIB + MIB, 0, 0, 0},
		{UINT64_MAX, 0, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct gmem_range ranges[ARCH_RAM_RANGES_MAX];
		size_t count = arch_ram_ranges(cases[i].len, ranges);

		cr_expect_eq(count, cases[i].count, "%zu", i);
		if (count > 0) {
			cr_expect_eq(ranges[0].base.v, 0x80000000);
			cr_expect_eq(ranges[0].len, cases[i].low, "%zu", i);
		}
		if (count > 1) {
			cr_expect_eq(ranges[1].base.v, UINT64_C(1) << 39);
			cr_expect_eq(ranges[1].len, cases[i].high, "%zu", i);
		}
	}
}

Test(vm, the_slots_are_where_guests_know_them)
{
	static const struct platform_dev expected[] = {
		{PLATFORM_BOOT_TIMER, BUS_MMIO, 0x40000000, 0x1000, PLATFORM_NO_GSI, false},
		{PLATFORM_SERIAL, BUS_MMIO, 0x40002000, 0x1000, 92, true},
		{PLATFORM_RTC_PL031, BUS_MMIO, 0x40001000, 0x1000, 93, false},
		{PLATFORM_VMGENID, BUS_RAM, 0x801ffff0, 16, 94, false},
		{PLATFORM_VMCLOCK, BUS_RAM, 0x801fe000, 0x1000, 95, false},
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
		cr_expect_eq(slots[i].needs_console, expected[i].needs_console);
	}
	cr_assert_str_eq(arch_name, "aarch64");
}

Test(vm, virtio_devices_count_up_from_the_first_window_and_interrupt)
{
	struct platform_dev dev;

	for (size_t i = 0; i < 92; i++) {
		cr_assert(arch_virtio_slot(i, &dev), "%zu", i);
		cr_expect(dev.kind == PLATFORM_VIRTIO_MMIO && dev.bus == BUS_MMIO);
		cr_expect_eq(dev.base, 0x40003000 + i * 0x1000);
		cr_expect_eq(dev.len, 0x1000);
		cr_expect_eq(dev.gsi, (int)i);
	}
	cr_expect_not(arch_virtio_slot(92, &dev));
	cr_expect_not(arch_virtio_slot(SIZE_MAX, &dev));
}

/* What the scripted KVM answers KVM_CHECK_EXTENSION. */
static int missing_cap;
static int ipa_bits;

static int answer_extension(int fd, unsigned long request, void *arg)
{
	int cap = (int)(intptr_t)arg;

	cr_expect_eq(fd, KVM);
	cr_expect_eq(request, KVM_CHECK_EXTENSION);
	if (cap == KVM_CAP_ARM_VM_IPA_SIZE) {
		return ipa_bits;
	}
	return cap != missing_cap;
}

Test(vm, a_host_without_a_capability_is_refused_by_its_name)
{
	static const struct {
		int cap;
		const char *name;
	} cases[] = {
		{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
		{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
		{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
		{KVM_CAP_ARM_PSCI_0_2, "KVM_CAP_ARM_PSCI_0_2"},
		{KVM_CAP_DEVICE_CTRL, "KVM_CAP_DEVICE_CTRL"},
		{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
		{KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG"},
	};
	struct error err = {0};

	kvm_fake_script(KVM_CHECK_EXTENSION, answer_extension);
	missing_cap = -1;
	cr_assert_eq(arch_check_host(KVM, NULL, &err), 0);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		missing_cap = cases[i].cap;
		error_clear(&err);
		cr_expect_eq(arch_check_host(KVM, NULL, &err), -1);
		cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
		cr_expect_not_null(strstr(err.msg, cases[i].name), "%s", err.msg);
	}
}

Test(vm, the_type_is_as_wide_as_host_and_layout_allow)
{
	static const struct {
		int host;
		unsigned long type;
	} cases[] = {{0, 0}, {36, 36}, {40, 40}, {41, 41}, {48, 41}, {52, 41}};

	kvm_fake_script(KVM_CHECK_EXTENSION, answer_extension);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		ipa_bits = cases[i].host;
		cr_expect_eq(arch_vm_type(KVM), cases[i].type, "%d", cases[i].host);
	}
}

static unsigned enabled_cap;

static int answer_enable(int fd, unsigned long request, void *arg)
{
	const struct kvm_enable_cap *enable = arg;

	(void)request;
	cr_expect_eq(fd, VM);
	cr_expect_eq(enable->flags, 0);
	enabled_cap = enable->cap;
	return 0;
}

Test(vm, accesses_without_a_syndrome_become_exits_where_kvm_can)
{
	static const struct arch_machine machine = {.vcpu_count = 3};

	kvm_fake_script(KVM_CHECK_EXTENSION, answer_extension);
	kvm_fake_script(KVM_ENABLE_CAP, answer_enable);
	for (int i = 0; i <= 1; i++) {
		struct arch_vm vm;
		struct error err = {0};

		missing_cap = i == 0 ? KVM_CAP_ARM_NISV_TO_USER : -1;
		cr_assert_eq(arch_vm_init(&vm, KVM, VM, &machine, &err), 0);
		cr_assert_eq(enabled_cap, i == 0 ? 0 : KVM_CAP_ARM_NISV_TO_USER);
		cr_assert_eq(vm.vcpu_count, 3);
		arch_vm_destroy(&vm);
	}
}

Test(vm, a_machine_that_is_loaded_needs_no_caches_for_a_device_tree)
{
	struct arch_vm vm;
	struct error err = {0};

	cr_assert_eq(arch_vm_init(&vm, KVM, VM,
				  &(struct arch_machine){.vcpu_count = 1, .is_loaded = true}, &err),
		     0);
	cr_expect_eq(vm.caches.count, 0);
}

Test(vm, the_counter_offset_is_optional)
{
	static const struct arch_machine machine = {.vcpu_count = 1};

	kvm_fake_script(KVM_CHECK_EXTENSION, answer_extension);
	for (int i = 0; i <= 1; i++) {
		struct arch_vm vm;
		struct error err = {0};

		missing_cap = i == 0 ? KVM_CAP_COUNTER_OFFSET : -1;
		cr_assert_eq(arch_vm_init(&vm, KVM, VM, &machine, &err), 0);
		cr_assert_eq(vm.has_counter_offset, i == 1);
	}
}

Test(vm, a_zeroed_machine_may_be_destroyed)
{
	struct arch_vm vm = {0};
	unsigned before = kvm_fake_open_fds();

	arch_vm_destroy(&vm);
	cr_assert_eq(kvm_fake_open_fds(), before);
}

Test(vm, a_refused_capability_fails_the_start)
{
	static const struct arch_machine machine = {.vcpu_count = 1};
	struct arch_vm vm;
	struct error err = {0};

	kvm_fake_fail(KVM_ENABLE_CAP, 1, EPERM);
	cr_assert_eq(arch_vm_init(&vm, KVM, VM, &machine, &err), -1);
	cr_assert_eq(err.sys, EPERM);
}

Test(vm, a_frame_makes_messages_shared_interrupts)
{
	static const struct {
		uint64_t address;
		uint32_t data;
		int pin; /* -1: it stays a message */
	} cases[] = {
		{0x3fffc040, 32, 0},  {0x3fffc040, 123, 91}, {0x3fffc040, 124, -1},
		{0x3fffc040, 31, -1}, {0x3fffc040, 0, -1},   {0x3fffc040, UINT32_MAX, -1},
		{0x3fffc044, 32, -1}, {0x13fffc040, 32, -1},
	};
	struct arch_vm vm = {.gic = {.version = GIC_V2, .has_v2m = true}};
	struct arch_msi_frame frame;

	cr_assert(arch_msi_frame(&vm, &frame));
	cr_expect(frame.base == 0x3fffc000 && frame.len == 0x1000);
	cr_expect(frame.first == 32 && frame.count == 92);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct kvm_irq_routing_entry route = {.gsi = 100, .type = KVM_IRQ_ROUTING_MSI};

		route.u.msi.address_lo = (uint32_t)cases[i].address;
		route.u.msi.address_hi = (uint32_t)(cases[i].address >> 32);
		route.u.msi.data = cases[i].data;
		arch_route_message(&route);
		cr_expect_eq(route.gsi, 100);
		if (cases[i].pin < 0) {
			cr_expect(route.type == KVM_IRQ_ROUTING_MSI &&
					  route.u.msi.data == cases[i].data,
				  "case %zu", i);
		} else {
			cr_expect(route.type == KVM_IRQ_ROUTING_IRQCHIP &&
					  route.u.irqchip.irqchip == 0 &&
					  route.u.irqchip.pin == (uint32_t)cases[i].pin,
				  "case %zu", i);
		}
	}
	vm.gic.has_v2m = false;
	cr_expect_not(arch_msi_frame(&vm, &frame));
}

/* As in arch/arm64/kvm/vgic/vgic-irqfd.c: what KVM's own first table has is not to be lost. */
Test(vm, routes_to_pins_are_those_of_a_new_vm)
{
	struct kvm_irq_routing_entry routes[ARCH_IRQCHIP_ROUTES_MAX];

	cr_assert_eq(arch_irqchip_routes(routes), LAYOUT_GSIS);
	for (uint32_t i = 0; i < LAYOUT_GSIS; i++) {
		cr_expect(routes[i].gsi == i && routes[i].u.irqchip.pin == i);
		cr_expect(routes[i].type == KVM_IRQ_ROUTING_IRQCHIP);
		cr_expect_eq(routes[i].u.irqchip.irqchip, 0);
	}
	cr_expect_eq(arch_pci.msi_gsi, LAYOUT_GSIS);
}
