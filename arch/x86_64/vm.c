/* SPDX-License-Identifier: Apache-2.0 */
/* The x86_64 machine: what it asks of KVM, where its RAM and fixed devices are, its irqchip. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "arch/boot.h"
#include "arch/device_memory.h"
#include "arch/template.h"
#include "cpuid.h"
#include "kvm_x86.h"
#include "msr.h"
#include "vmm/base/bytes.h"
#include "vmm/base/kvm.h"

const char arch_name[] = "x86_64";

const char *const arch_cpu_templates[] = {"C3", "T2", "T2S", "None", "T2CL", "T2A", NULL};

const char arch_cmdline_default[] = "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux "
				    "i8042.nomux i8042.dumbkbd swiotlb=noforce";

/* --- The machine's shape: pure functions --- */

size_t arch_ram_ranges(uint64_t len, struct gmem_range out[ARCH_RAM_RANGES_MAX])
{
	static const struct {
		uint64_t base;
		uint64_t end;
	} places[ARCH_RAM_RANGES_MAX] = {
		{0, LAYOUT_MMIO32},
		{LAYOUT_MMIO32_END, LAYOUT_MMIO64},
		{LAYOUT_MMIO64_END, LAYOUT_RAM_END},
	};
	size_t count = 0;

	while (len > 0 && count < ARRAY_COUNT(places)) {
		uint64_t part = min_u64(len, places[count].end - places[count].base);

		out[count] = (struct gmem_range){GPA(places[count].base), part};
		len -= part;
		count++;
	}
	return len == 0 ? count : 0;
}

const struct gmem_range arch_device_memory = {{LAYOUT_MMIO64_END},
					      LAYOUT_DEVICE_MEMORY_END - LAYOUT_MMIO64_END};

/* Every processor that virtualizes has the leaf. */
unsigned arch_address_bits(int kvm)
{
	(void)kvm;
	return cpuid_read_host(0x80000008, 0).eax & 0xff;
}

const struct platform_dev *arch_platform_slots(size_t *count)
{
	static const struct platform_dev slots[] = {
		{
			.kind = PLATFORM_BOOT_TIMER,
			.bus = BUS_MMIO,
			.base = LAYOUT_BOOT_TIMER,
			.len = 0x1000,
			.gsi = PLATFORM_NO_GSI,
		},
		{
			.kind = PLATFORM_SERIAL,
			.bus = BUS_PIO,
			.base = 0x3f8,
			.len = 8,
			.gsi = GSI_SERIAL,
		},
		{
			.kind = PLATFORM_I8042,
			.bus = BUS_PIO,
			.base = 0x60,
			.len = 5,
			.gsi = GSI_I8042,
		},
		{
			.kind = PLATFORM_ACPI_SLEEP,
			.bus = BUS_PIO,
			.base = LAYOUT_ACPI_SLEEP,
			.len = 2,
			.gsi = PLATFORM_NO_GSI,
		},
		{
			.kind = PLATFORM_VMGENID,
			.bus = BUS_RAM,
			.base = LAYOUT_VMGENID,
			.len = 16,
			.gsi = GSI_VMGENID,
		},
		{
			.kind = PLATFORM_VMCLOCK,
			.bus = BUS_RAM,
			.base = LAYOUT_VMCLOCK,
			.len = 0x1000,
			.gsi = GSI_VMCLOCK,
		},
	};

	*count = ARRAY_COUNT(slots);
	return slots;
}

bool arch_virtio_slot(size_t index, struct platform_dev *dev)
{
	if (index > GSI_VIRTIO_LAST - GSI_FIRST) {
		return false;
	}
	*dev = (struct platform_dev){
		.kind = PLATFORM_VIRTIO_MMIO,
		.bus = BUS_MMIO,
		.base = LAYOUT_VIRTIO_MMIO + index * LAYOUT_VIRTIO_MMIO_LEN,
		.len = LAYOUT_VIRTIO_MMIO_LEN,
		.gsi = GSI_FIRST + (int)index,
	};
	return true;
}

/* --- Building the machine --- */

int arch_check_host(int kvm, const struct cpu_template *cpu_template, struct error *err)
{
	static const struct kvm_cap needed[] = {
		{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
		{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
		{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
		{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
		{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
		{KVM_CAP_PIT2, "KVM_CAP_PIT2"},
		{KVM_CAP_PIT_STATE2, "KVM_CAP_PIT_STATE2"},
		{KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK"},
		{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
		{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
		{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
		{KVM_CAP_XCRS, "KVM_CAP_XCRS"},
		{KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
		{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
	};

	return cpu_template_check_caps(cpu_template, kvm, needed, ARRAY_COUNT(needed), err);
}

unsigned long arch_vm_type(int kvm)
{
	(void)kvm;
	return 0; /* KVM_X86_DEFAULT_VM */
}

/* Whatever a guest maps a page as, its accesses and ours are coherent. */
bool arch_shows_registers(int vm_fd)
{
	return kvm_check_extension(vm_fd, KVM_CAP_READONLY_MEM) != 0;
}

/*
 * KVM on hardware is one of two modules. A third kind, found on some rented machines, answers all
 * ioctls but interprets the guest's instructions, and far from all of them. Without a /sys (a
 * jail) there is no telling, and nothing is said.
 */
static bool host_interprets_guests(void)
{
	return access("/sys/module", F_OK) == 0 && access("/sys/module/kvm_intel", F_OK) != 0 &&
	       access("/sys/module/kvm_amd", F_OK) != 0;
}

static int make_cpuid(struct arch_vm *vm, const struct arch_machine *machine, struct error *err)
{
	if (kvm_get_supported_cpuid(vm->kvm, &vm->cpuid, err) != 0) {
		return -1;
	}
	return cpuid_normalise(&vm->cpuid, machine, cpuid_read_host, err);
}

/* Room for what comes with the vCPUs' states. */
static int make_loaded_cpuid(struct arch_vm *vm, struct error *err)
{
	vm->loaded = calloc(vm->vcpu_count, sizeof(*vm->loaded));
	if (vm->loaded == NULL) {
		errno = ENOMEM;
		return error_sys(err, "Cannot keep the CPUID of %u vCPUs", vm->vcpu_count);
	}
	return 0;
}

static int make_irqchip(const struct arch_vm *vm, struct error *err)
{
	if (kvm_create_irqchip(vm->fd, err) != 0) {
		return -1;
	}
	return vm->is_loaded ? 0 : kvm_mask_pics(vm->fd, err);
}

int arch_vm_init(struct arch_vm *vm, int kvm, int vm_fd, const struct arch_machine *machine,
		 struct error *err)
{
	*vm = (struct arch_vm){
		.fd = vm_fd,
		.kvm = kvm,
		.vcpu_count = machine->vcpu_count,
		.smt = machine->smt,
		.is_loaded = machine->is_loaded,
		.cpu_template = machine->cpu_template,
		.is_interpreted = host_interprets_guests(),
		.can = kvm_find_abilities(vm_fd),
	};
	/* Asked for now, since the VMM thread is confined when a machine is saved. */
	if (msr_list_to_save(kvm, machine->cpu_template, &vm->msrs, err) != 0) {
		return -1;
	}
	if ((vm->is_loaded ? make_loaded_cpuid(vm, err) : make_cpuid(vm, machine, err)) != 0) {
		return -1;
	}
	if (kvm_set_tss_addr(vm_fd, LAYOUT_KVM_TSS, err) != 0) {
		return -1;
	}
	if (make_irqchip(vm, err) != 0) {
		return -1;
	}
	return kvm_create_pit2(vm_fd, err);
}

int arch_vm_finish(struct arch_vm *vm, struct error *err)
{
	(void)vm;
	(void)err;
	return 0; /* all interrupt controllers exist since arch_vm_init */
}

void arch_vm_destroy(struct arch_vm *vm)
{
	free(vm->loaded);
	*vm = (struct arch_vm){0}; /* its other parts are KVM's and end with the VM's descriptor */
}
