/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a processor architecture must answer. arch/x86_64 and arch/aarch64 implement it for real,
 * tests/fake for unit tests; the Makefile links exactly one. Plain data goes in (boot_info), so no
 * architecture knows a device or a configuration file.
 *
 * Order of the calls for one VM, all on the VMM's thread:
 *
 *	arch_find_template, arch_check_host, arch_ram_ranges, (memory slots,) arch_vm_init, per
 *vCPU: arch_vcpu_init, arch_vm_finish, arch_load_kernel, arch_initrd_place, arch_write_boot_info,
 *per vCPU: arch_vcpu_set_boot_state; then the vCPUs run.
 */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"
#include "vmm/base/text.h"

/* struct arch_vm and struct arch_vcpu: -Iarch/$(ARCH) chooses the file. Opaque outside arch/. */
#include "layout.h"

enum {
	ARCH_VCPUS_MAX = 32,
	ARCH_RAM_RANGES_MAX = 3,
	ARCH_CMDLINE_MAX = 2048, /* bytes with the NUL, on both architectures [compat] */
	ARCH_PLATFORM_DEVS_MAX = 128,
};

/* --- The machine's shape: pure functions --- */

/* "x86_64" or "aarch64" */
extern const char arch_name[];

/* The kernel command line used when boot_args is not given [compat]. */
extern const char arch_cmdline_default[];

/*
 * Splits `len` bytes of guest RAM (> 0, a multiple of 1 MiB) around the MMIO gaps; returns how many
 * ranges were filled, 0 if `len` is more than this architecture can place.
 */
size_t arch_ram_ranges(uint64_t len, struct gmem_range out[ARCH_RAM_RANGES_MAX]);

enum bus_kind {
	BUS_MMIO,
	BUS_PIO,
	BUS_RAM, /* none: the device is a place in guest memory, and has no registers */
};

enum platform_kind {
	PLATFORM_SERIAL,
	PLATFORM_I8042,
	PLATFORM_RTC_PL031,
	PLATFORM_BOOT_TIMER,
	PLATFORM_ACPI_SLEEP,
	PLATFORM_VMGENID,
	PLATFORM_VMCLOCK,
	PLATFORM_VIRTIO_MMIO,
	PLATFORM_VIRTIO_PCI, /* in no table: guests find it on the bus */
};

enum {
	PLATFORM_NO_GSI = -1
};

/* A device with its place in the guest: from the table of fixed slots, or a virtio-mmio window. */
struct platform_dev {
	enum platform_kind kind;
	enum bus_kind bus;
	uint64_t base;
	uint64_t len;
	int gsi;	    /* PLATFORM_NO_GSI: none */
	bool needs_console; /* attached only if the command line has console= [compat] */
};

/* The fixed devices of this architecture, in attach order, which is guest ABI. */
const struct platform_dev *arch_platform_slots(size_t *count);

/*
 * The place of virtio-mmio device `index`, counted from 0 in attach order, which is guest ABI too.
 * False if this architecture has no interrupt for so many.
 */
bool arch_virtio_slot(size_t index, struct platform_dev *dev);

/* --- Building the machine --- */

struct arch_vcpu_state; /* arch/state.h */

struct arch_machine {
	unsigned vcpu_count; /* 1..ARCH_VCPUS_MAX */
	bool smt;	     /* two threads per core (x86_64 only, checked by the configuration) */
	bool has_pci;	     /* a PCI bus, whose functions interrupt by messages */
	unsigned pci_ports;  /* for hot-plug on it */
	bool is_loaded; /* arch/state.h sets what a boot would set: CPUID, MSRs, interrupt pins */
	const struct arch_vcpu_state *saved; /* of all vCPUs, borrowed; NULL: unknown */
	/* Of the processors. A loaded machine has neither: its state has what came of it. */
	const struct cpu_template *cpu_template; /* borrowed by the machine; NULL: none */
	const char *static_template; /* its name, in place of cpu_template; NULL: none */
};

/*
 * All KVM capabilities that squib needs are there, but for what a CPU template (NULL: none) waives,
 * and those that it asks for; the sentence names the first missing one.
 */
MUST_CHECK int arch_check_host(int kvm, const struct cpu_template *cpu_template, struct error *err);

/* The machine type for KVM_CREATE_VM. */
unsigned long arch_vm_type(int kvm);

/*
 * After the memory slots, before any vCPU: the in-kernel irqchip and PIT on x86_64. Fills *vm,
 * which arch_vm_destroy empties; destroy accepts a zeroed object.
 */
MUST_CHECK int arch_vm_init(struct arch_vm *vm, int kvm, int vm_fd,
			    const struct arch_machine *machine, struct error *err);

/* After the last vCPU: the GIC on aarch64. */
MUST_CHECK int arch_vm_finish(struct arch_vm *vm, struct error *err);
void arch_vm_destroy(struct arch_vm *vm);

/*
 * Configures vCPU `index` (CPUID and MSRs; features and MPIDR) up to where only the boot registers
 * are missing. `fd` stays the caller's and outlives *vcpu.
 */
MUST_CHECK int arch_vcpu_init(struct arch_vcpu *vcpu, struct arch_vm *vm, int fd, unsigned index,
			      struct error *err);

/* --- While it runs --- */

/*
 * Tells a guest's clock that the vCPU, which is parked, was paused, so that its watchdogs do not
 * take the time until it goes on for a hang. Fails where the guest has no such clock.
 */
MUST_CHECK int arch_vcpu_note_pause(struct arch_vcpu *vcpu, struct error *err);

/*
 * Explains why a vCPU can't go on (KVM_EXIT_INTERNAL_ERROR, FAIL_ENTRY, SHUTDOWN or an exit nobody
 * knows): program counter, instruction bytes where KVM gives them, and the host as the cause where
 * its KVM only interprets guests. A clause that follows "vCPU 0 stopped: ". On the vCPU's thread.
 */
void arch_vcpu_describe_exit(const struct arch_vcpu *vcpu, const struct kvm_run *run,
			     struct text *text);

#endif
