/* SPDX-License-Identifier: Apache-2.0 */
/* Booting a kernel: the half of the architecture's contract that works on guest memory alone. */
#ifndef ARCH_BOOT_H
#define ARCH_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "arch/arch.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

enum boot_protocol {
	BOOT_PVH,	      /* x86_64: ELF with a PVH note, entered in 32-bit mode */
	BOOT_LINUX64_ELF,     /* x86_64: ELF without one, entered in 64-bit mode */
	BOOT_LINUX64_BZIMAGE, /* x86_64: bzImage, its 64-bit entry */
	BOOT_ARM64_IMAGE,     /* aarch64: the flat Image */
};

enum {
	BOOT_SETUP_HEADER_MAX = 0x1000 - 0x1f1
};

/* All data that describes the machine to the guest at boot. Each step of a start adds some. */
struct boot_info {
	/* before arch_load_kernel */
	struct gmem_range ram[ARCH_RAM_RANGES_MAX];
	size_t ram_count;
	/* by arch_load_kernel */
	enum boot_protocol protocol;
	gpa_t entry;
	gpa_t kernel_end; /* first byte above the loaded kernel and what it clears at start */
	uint8_t setup_header[BOOT_SETUP_HEADER_MAX]; /* bzImage: as in the file, from 0x1f1 */
	size_t setup_header_len;
	/* by the machine */
	gpa_t initrd; /* len 0: none */
	uint64_t initrd_len;
	const char *cmdline; /* shorter than ARCH_CMDLINE_MAX */
	bool has_pci;	     /* the bus of arch_pci */
	unsigned pci_ports;  /* for hot-plug on it, with a bus each */
	struct platform_dev devs[ARCH_PLATFORM_DEVS_MAX];
	size_t dev_count;
};

const char *boot_protocol_name(enum boot_protocol protocol);

/*
 * Recognises the kernel image in `fd` (a regular file of `len` bytes) and loads it. The file is
 * read as if an attacker wrote it: a damaged, truncated or foreign image is ERR_CORRUPT with one
 * sentence that names the fault.
 */
MUST_CHECK int arch_load_kernel(struct gmem *mem, int fd, uint64_t len, struct boot_info *boot,
				struct error *err);

/* Where an initrd of `len` bytes (> 0) goes: sets boot->initrd and initrd_len, loads nothing. */
MUST_CHECK int arch_initrd_place(struct boot_info *boot, uint64_t len, struct error *err);

/*
 * What the kernel command line says of a device, without a leading space: e.g.
 * "virtio_mmio.device=4K@0xc0001000:5" or "earlycon=uart,mmio,0x40002000". "" where nothing.
 * `buf` always ends up NUL-terminated; 64 bytes suffice.
 */
void arch_platform_cmdline(const struct platform_dev *dev, char *buf, size_t len);

/*
 * Writes all that the kernel reads at start: command line, zero page or PVH start info, ACPI and
 * MPTable; or the FDT.
 */
MUST_CHECK int arch_write_boot_info(const struct arch_vm *vm, struct gmem *mem,
				    const struct boot_info *boot, struct error *err);

/* Registers of vCPU `vcpu` at the first instruction; secondaries wait as their firmware would. */
MUST_CHECK int arch_vcpu_set_boot_state(struct arch_vcpu *vcpu, const struct boot_info *boot,
					struct error *err);

#endif
