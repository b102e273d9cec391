/* SPDX-License-Identifier: Apache-2.0 */
/* The guest-physical map of an aarch64 VM, its interrupt numbers, and the two architecture objects.
 */
#ifndef ARCH_AARCH64_LAYOUT_H
#define ARCH_AARCH64_LAYOUT_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/aarch64/cache.h"
#include "arch/aarch64/gic_frames.h"
#include "vmm/base/bytes.h"

/*
 * All addresses are Firecracker's [compat]: a snapshot or a guest that knows one finds it again.
 *
 *	            ..0x40000000	GIC, growing downwards from 1 GiB
 *	0x40000000..0x80000000	devices, 4 KiB each, in the order of arch_platform_slots
 *	0x80000000..256 GiB	RAM: system area, kernel, ... initrd, FDT
 *	   256 GiB..512 GiB	what PCI functions map
 *	   512 GiB..1280 GiB	the rest of the RAM, then memory that is plugged in
 */

/* Devices: one 4 KiB page each, the smallest unit a guest can map. */
#define LAYOUT_DEV_LEN (4 * KIB)
#define LAYOUT_BOOT_TIMER UINT64_C(0x40000000)
#define LAYOUT_RTC UINT64_C(0x40001000)
#define LAYOUT_SERIAL UINT64_C(0x40002000)
#define LAYOUT_VIRTIO_MMIO UINT64_C(0x40003000)

/* The configuration spaces of PCI: 256 buses have room, and bus 0 is there. */
#define LAYOUT_PCI_ECAM UINT64_C(0x70000000)
#define LAYOUT_PCI_ECAM_LEN UINT64_C(0x100000)

/* RAM starts at 2 GiB, and leaves a hole from 256 to 512 GiB. */
#define LAYOUT_RAM UINT64_C(0x80000000)
#define LAYOUT_RAM_LOW_END (256 * GIB)
#define LAYOUT_RAM_HIGH (512 * GIB)
#define LAYOUT_RAM_LEN_MAX (1022 * GIB)

/* Memory of devices, and what is plugged in, lie behind the hole, and behind RAM that is there. */
#define LAYOUT_DEVICE_MEMORY_END (1024 * GIB)

/* Every address above fits into 41 bits. */
#define LAYOUT_IPA_BITS 41

/* The first bytes of RAM are the monitor's (generation id, clock page); the FDT hides them. */
#define LAYOUT_SYSTEM_LEN (2 * MIB)
#define LAYOUT_SYSTEM_END (LAYOUT_RAM + LAYOUT_SYSTEM_LEN)
#define LAYOUT_VMGENID_LEN 16
#define LAYOUT_VMGENID (LAYOUT_SYSTEM_END - LAYOUT_VMGENID_LEN)
#define LAYOUT_VMCLOCK_LEN (4 * KIB)
#define LAYOUT_VMCLOCK (LAYOUT_SYSTEM_END - 2 * LAYOUT_VMCLOCK_LEN)

/* Stolen time, 64 bytes per vCPU [arm-den0057 4.1]: vCPU 0's comes first, the last one's ends here.
 */
#define LAYOUT_PVTIME_LEN 64
#define LAYOUT_PVTIME_END (LAYOUT_SYSTEM_END - LAYOUT_PVTIME_LEN)

/* An Image lies at a fixed offset from any 2 MiB boundary [linux-arm64-boot 4]. */
#define LAYOUT_KERNEL_ALIGN (2 * MIB)

/* The FDT may have 2 MiB [linux-arm64-boot 2]: the last ones of the first RAM range. */
#define LAYOUT_FDT_LEN_MAX (2 * MIB)

/* An initrd lies within 32 GiB, counted from a 1 GiB boundary, of its kernel [linux-arm64-boot 4].
 */
#define LAYOUT_INITRD_END_MAX (LAYOUT_RAM + 32 * GIB)

/*
 * Interrupts. KVM's default routing joins GSI n to the shared interrupt n, which the GIC counts as
 * n + 32. Devices on the virtio bus take GSIs upwards from 0 in attach order [compat]. Firecracker
 * attaches the fixed devices after them and gives them the next ones; here they have fixed ones
 * at the end of the range, so that no device's GSI depends on whether there is a console, and so
 * that the table of slots can be constant.
 */
enum {
	LAYOUT_INTIDS = 128, /* private ones included [compat] */
	LAYOUT_INTID_SPI = 32,
	LAYOUT_GSIS = LAYOUT_INTIDS - LAYOUT_INTID_SPI,
	LAYOUT_GSI_VIRTIO_COUNT = LAYOUT_GSIS - 4,
	LAYOUT_GSI_SERIAL = LAYOUT_GSIS - 4,
	LAYOUT_GSI_RTC = LAYOUT_GSIS - 3,
	LAYOUT_GSI_VMGENID = LAYOUT_GSIS - 2,
	LAYOUT_GSI_VMCLOCK = LAYOUT_GSIS - 1,
};

enum {
	ARCH_AARCH64_VCPUS_MAX = 32 /* as ARCH_VCPUS_MAX, which needs this header */
};

/* VMM thread only; immutable once arch_vm_finish has returned. */
struct arch_vm {
	int fd; /* the caller's */
	unsigned vcpu_count;
	bool has_counter_offset; /* KVM can set the guest's physical counter (Linux 6.4) */
	bool has_vcpu_events;	 /* KVM can save and load a pending SError (Linux 4.19) */
	bool has_steal_time;	 /* KVM can tell a guest how long its vCPUs waited (Linux 5.10) */
	bool is_loaded;
	bool has_pci;
	const struct cpu_template *cpu_template; /* borrowed; NULL: none */
	/* The first of the states that it is loaded from; while vCPUs are made. */
	const struct arch_vcpu_state *saved;
	struct gic gic;
	uint64_t mpidr[ARCH_AARCH64_VCPUS_MAX]; /* by arch_vcpu_init */
	struct cache_list caches;
};

/* As struct kvm_vcpu_init [kvm-api 4.82], which headers of other architectures lack. */
struct vcpu_make {
	uint32_t target;
	uint32_t features[7];
};

/* Immutable after arch_vcpu_init. */
struct arch_vcpu {
	int fd; /* the caller's */
	unsigned index;
	bool has_counter_offset;
	bool has_vcpu_events;
	bool has_steal_time;
	uint64_t pvtime; /* where its stolen time is; 0: the guest is not told of any */
	uint64_t mpidr;
	struct vcpu_make init; /* what it was made with */
};

#endif
