/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as a whole: RAM, fixed devices, what KVM must offer, and the order of its parts. */
#include "arch/arch.h"
#include "arch/device_memory.h"
#include "arch/template.h"

#include "arch/aarch64/cache.h"
#include "arch/aarch64/gic.h"
#include "arch/aarch64/kvm_arm.h"
#include "vmm/base/bytes.h"
#include "vmm/base/kvm.h"

const char arch_name[] = "aarch64";

const char *const arch_cpu_templates[] = {"V1N1", "None", NULL};

/* [compat] The same on both architectures, though the i8042 words mean nothing here. */
const char arch_cmdline_default[] =
	"reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd "
	"swiotlb=noforce";

/* --- The machine's shape: pure functions --- */

size_t arch_ram_ranges(uint64_t len, struct gmem_range out[ARCH_RAM_RANGES_MAX])
{
	const uint64_t low_max = LAYOUT_RAM_LOW_END - LAYOUT_RAM;

	if (len > LAYOUT_RAM_LEN_MAX) {
		return 0;
	}
	out[0] = (struct gmem_range){.base = GPA(LAYOUT_RAM), .len = min_u64(len, low_max)};
	if (len <= low_max) {
		return 1;
	}
	out[1] = (struct gmem_range){.base = GPA(LAYOUT_RAM_HIGH), .len = len - low_max};
	return 2;
}

const struct gmem_range arch_device_memory = {{LAYOUT_RAM_HIGH},
					      LAYOUT_DEVICE_MEMORY_END - LAYOUT_RAM_HIGH};

const struct platform_dev *arch_platform_slots(size_t *count)
{
	static const struct platform_dev slots[] = {
		{.kind = PLATFORM_BOOT_TIMER,
		 .bus = BUS_MMIO,
		 .base = LAYOUT_BOOT_TIMER,
		 .len = LAYOUT_DEV_LEN,
		 .gsi = PLATFORM_NO_GSI},
		{.kind = PLATFORM_SERIAL,
		 .bus = BUS_MMIO,
		 .base = LAYOUT_SERIAL,
		 .len = LAYOUT_DEV_LEN,
		 .gsi = LAYOUT_GSI_SERIAL,
		 .needs_console = true},
		{.kind = PLATFORM_RTC_PL031,
		 .bus = BUS_MMIO,
		 .base = LAYOUT_RTC,
		 .len = LAYOUT_DEV_LEN,
		 .gsi = LAYOUT_GSI_RTC},
		{.kind = PLATFORM_VMGENID,
		 .bus = BUS_RAM,
		 .base = LAYOUT_VMGENID,
		 .len = LAYOUT_VMGENID_LEN,
		 .gsi = LAYOUT_GSI_VMGENID},
		{.kind = PLATFORM_VMCLOCK,
		 .bus = BUS_RAM,
		 .base = LAYOUT_VMCLOCK,
		 .len = LAYOUT_VMCLOCK_LEN,
		 .gsi = LAYOUT_GSI_VMCLOCK},
	};

	*count = ARRAY_COUNT(slots);
	return slots;
}

bool arch_virtio_slot(size_t index, struct platform_dev *dev)
{
	if (index >= LAYOUT_GSI_VIRTIO_COUNT) {
		return false;
	}
	*dev = (struct platform_dev){
		.kind = PLATFORM_VIRTIO_MMIO,
		.bus = BUS_MMIO,
		.base = LAYOUT_VIRTIO_MMIO + index * LAYOUT_DEV_LEN,
		.len = LAYOUT_DEV_LEN,
		.gsi = (int)index,
	};
	return true;
}

/* --- Building the machine --- */

int arch_check_host(int kvm, const struct cpu_template *cpu_template, struct error *err)
{
	static const struct kvm_cap needed[] = {
		{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
		{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
		{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
		{KVM_CAP_ARM_PSCI_0_2, "KVM_CAP_ARM_PSCI_0_2"},
		{KVM_CAP_DEVICE_CTRL, "KVM_CAP_DEVICE_CTRL"},
		{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
		{KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG"},
	};

	return cpu_template_check_caps(cpu_template, kvm, needed, ARRAY_COUNT(needed), err);
}

/*
 * The type's low byte is the width of guest-physical addresses [kvm-api 4.2]. 0 would mean 40 bits,
 * which is too much for some hosts and too little for the end of the RAM; either width costs the
 * same three levels of stage-2 tables. Kernels before 4.20 know 40 bits only.
 */
unsigned long arch_vm_type(int kvm)
{
	unsigned long bits_max = (unsigned long)kvm_check_extension(kvm, KVM_CAP_ARM_VM_IPA_SIZE);

	return min_u64(bits_max, LAYOUT_IPA_BITS);
}

/*
 * Reads of device memory bypass the caches that we write to, unless the processor has FEAT_S2FWB,
 * of which KVM does not tell.
 */
bool arch_shows_registers(int vm_fd)
{
	(void)vm_fd;
	return false;
}

unsigned arch_address_bits(int kvm)
{
	unsigned long bits = arch_vm_type(kvm);

	return bits != 0 ? (unsigned)bits : 40; /* [kvm-api 4.2] */
}

int arch_vm_init(struct arch_vm *vm, int kvm, int vm_fd, const struct arch_machine *machine,
		 struct error *err)
{
	*vm = (struct arch_vm){
		.fd = vm_fd,
		.vcpu_count = machine->vcpu_count,
		.has_counter_offset = kvm_check_extension(kvm, KVM_CAP_COUNTER_OFFSET) != 0,
		.has_vcpu_events = kvm_check_extension(kvm, KVM_CAP_VCPU_EVENTS) != 0,
		.has_steal_time = kvm_check_extension(kvm, KVM_CAP_STEAL_TIME) != 0,
		.is_loaded = machine->is_loaded,
		.saved = machine->saved,
		.has_pci = machine->has_pci,
		.cpu_template = machine->cpu_template,
	};
	if (!machine->is_loaded) {
		cache_read(CACHE_SYSFS, &vm->caches); /* for the device tree */
	}

	/*
	 * Some instructions (load pair, writeback) do not tell KVM what they access. Outside RAM
	 * they end KVM_RUN with a bare ENOSYS, or with this as an exit that says where.
	 */
	if (kvm_check_extension(kvm, KVM_CAP_ARM_NISV_TO_USER) == 0) {
		return 0;
	}
	return kvm_arm_enable_cap(vm_fd, KVM_CAP_ARM_NISV_TO_USER, err);
}

int arch_vm_finish(struct arch_vm *vm, struct error *err)
{
	return gic_init(&vm->gic, vm->fd, vm->vcpu_count, vm->has_pci, err);
}

void arch_vm_destroy(struct arch_vm *vm)
{
	gic_destroy(&vm->gic);
}
