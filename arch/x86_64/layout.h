/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86_64 guest's physical address space and interrupt numbers, and what arch/ keeps for a VM
 * and a vCPU. The addresses are guest ABI: Firecracker's, so that snapshots, command lines and
 * tools that know them stay right [compat].
 */
#ifndef ARCH_X86_64_LAYOUT_H
#define ARCH_X86_64_LAYOUT_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Below 640 KiB: what the boot processor needs for its first instructions. Nothing here survives
 * the kernel's own tables, so the only rule is that the pieces don't overlap.
 */
#define LAYOUT_GDT UINT64_C(0x500)	 /* 4 descriptors, above the real-mode vectors and BDA */
#define LAYOUT_IDT UINT64_C(0x520)	 /* 1 empty gate: a fault before the kernel's IDT stops */
#define LAYOUT_PVH_INFO UINT64_C(0x6000) /* hvm_start_info, 56 bytes */
#define LAYOUT_PVH_MODLIST UINT64_C(0x6040) /* the initrd's entry, 32 bytes */
#define LAYOUT_ZERO_PAGE UINT64_C(0x7000)   /* boot_params, one page: a Linux 64-bit entry ... */
#define LAYOUT_PVH_MEMMAP UINT64_C(0x7000)  /* ... or the memory map of a PVH one */
#define LAYOUT_BOOT_STACK UINT64_C(0x8ff0)  /* grows down towards the zero page */
#define LAYOUT_PML4 UINT64_C(0x9000)
#define LAYOUT_PDPT UINT64_C(0xa000)
#define LAYOUT_PD UINT64_C(0xb000) /* 512 pages of 2 MiB: the first GiB, mapped to itself */
#define LAYOUT_CMDLINE UINT64_C(0x20000)

/* End of what the PD maps: a 64-bit kernel must be below it until it has tables of its own. */
#define LAYOUT_BOOT_MAPPED_END UINT64_C(0x40000000)

/*
 * The system pool: firmware tables, reserved in the memory map. It starts where a PC's extended
 * BIOS data area does, the last KiB of 640: there kernels look for the MP floating pointer.
 */
#define LAYOUT_SYSTEM UINT64_C(0x9fc00)
#define LAYOUT_SYSTEM_END UINT64_C(0xe0000)

/* At the pool's end, where the tables never get: the generation id, and the page below it. */
#define LAYOUT_VMGENID UINT64_C(0xdfff0)
#define LAYOUT_VMCLOCK UINT64_C(0xde000)

/* Start of the area where kernels search for an RSDP that nobody told them of [acpi-6.5 5.2.5.1] */
#define LAYOUT_RSDP UINT64_C(0xe0000)

/* First byte above the PC's 1 MiB of low memory: kernels are loaded from here on. */
#define LAYOUT_HIGH_RAM UINT64_C(0x100000)

/*
 * The 32-bit MMIO gap: the last GiB below 4 GiB. virtio-mmio windows follow the boot timer's page,
 * whether or not there is a boot timer.
 */
#define LAYOUT_MMIO32 UINT64_C(0xc0000000)
#define LAYOUT_MMIO32_END UINT64_C(0x100000000)
#define LAYOUT_BOOT_TIMER UINT64_C(0xc0000000)
#define LAYOUT_VIRTIO_MMIO UINT64_C(0xc0001000)
#define LAYOUT_VIRTIO_MMIO_LEN UINT64_C(0x1000)
#define LAYOUT_PCI_MMCONFIG UINT64_C(0xeec00000) /* ECAM of 256 buses; reserved without PCI too */
#define LAYOUT_PCI_MMCONFIG_LEN UINT64_C(0x10000000)
#define LAYOUT_PCI_ECAM_LEN UINT64_C(0x100000) /* of which bus 0 is there */
#define LAYOUT_IOAPIC UINT64_C(0xfec00000)     /* where KVM's in-kernel IOAPIC answers */
#define LAYOUT_LAPIC UINT64_C(0xfee00000)      /* reset value of IA32_APIC_BASE */
#define LAYOUT_KVM_TSS UINT64_C(0xfffbd000)    /* 3 pages for KVM's real mode on old Intel [4.36] */

/* The 64-bit MMIO gap splits the RAM above 4 GiB. */
#define LAYOUT_HIGH_RAM_2 UINT64_C(0x100000000)
#define LAYOUT_MMIO64 UINT64_C(0x4000000000)
#define LAYOUT_MMIO64_END UINT64_C(0x8000000000)
#define LAYOUT_DEVICE_MEMORY_END UINT64_C(0x10000000000) /* what is plugged in, too */

/* Linux with 4-level page tables reaches 46 bits of physical address space. */
#define LAYOUT_RAM_END UINT64_C(0x400000000000)

/* The ports of a PC's PCI bus [pci-3.0 3.2.2.3.2]. */
#define LAYOUT_PCI_PORTS UINT64_C(0xcf8)

/* The sleep registers of ACPI: two ports that no PC device has. */
#define LAYOUT_ACPI_SLEEP UINT64_C(0x600)

/* Interrupts: one GSI is one pin of KVM's 24-pin IOAPIC, and its routing table has 4096 entries. */
enum {
	GSI_I8042 = 1,
	GSI_SERIAL = 4,
	GSI_FIRST = 5, /* the pins for virtio-mmio devices, in attach order */
	GSI_VIRTIO_LAST = 21,
	GSI_VMGENID = 22,
	GSI_VMCLOCK = 23,
	GSI_MSI_FIRST = 24,
	GSI_MSI_LAST = 4095,
};

enum {
	CPUID_ENTRIES_MAX = 256 /* KVM's own limit, KVM_MAX_CPUID_ENTRIES */
};

/* A struct kvm_cpuid2 [kvm-api 4.46] with room for its entries. */
struct cpuid_table {
	uint32_t count;
	uint32_t padding;
	struct kvm_cpuid_entry2 entry[CPUID_ENTRIES_MAX];
};

enum {
	MSR_LIST_MAX = 512
};

/* Numbers of model-specific registers. */
struct msr_list {
	uint32_t count;
	uint32_t index[MSR_LIST_MAX];
};

/* What the host's KVM can do for saving and loading. */
struct kvm_abilities {
	uint32_t xsave_len; /* bytes of a vCPU's XSAVE area: KVM_CAP_XSAVE2 */
	bool has_xsave2;
	bool has_sregs2;
	bool has_tsc_control;
	bool has_clock_realtime;
};

struct arch_vm {
	int fd;	 /* borrowed */
	int kvm; /* borrowed: /dev/kvm */
	unsigned vcpu_count;
	bool smt;
	bool is_loaded;
	bool is_interpreted;			 /* see arch_vcpu_describe_exit */
	const struct cpu_template *cpu_template; /* borrowed; NULL: none */
	struct kvm_abilities can;
	struct msr_list msrs;	     /* that a vCPU's state has */
	struct kvm_clock_data clock; /* as it went on after a load; flags 0: unknown */
	/*
	 * What the guest's CPUID says; the APIC ids in it are the last configured vCPU's. Empty if
	 * the machine is loaded: then each vCPU has a table of its own, which came with its state.
	 */
	struct cpuid_table cpuid;
	struct cpuid_table *loaded; /* by vCPU; owned, NULL if the machine is booted */
};

struct arch_vcpu {
	int fd;			  /* borrowed */
	const struct arch_vm *vm; /* borrowed */
	unsigned index;
	bool is_interpreted;
	bool is_scaled; /* its TSC runs at another frequency than the host's */
};

#endif
