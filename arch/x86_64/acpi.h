/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI tables: processors, interrupt controllers and devices of the guest. */
#ifndef ARCH_X86_64_ACPI_H
#define ARCH_X86_64_ACPI_H

#include "arch/boot.h"
#include "sysmem.h"

/*
 * Puts DSDT, FADT, MADT and XSDT into the pool, and the RSDP to LAYOUT_RSDP. The DSDT has the
 * serial port, the i8042 and the virtio-mmio devices that are in boot->devs, in their order.
 */
MUST_CHECK int acpi_write(struct sysmem *sys, unsigned vcpu_count, const struct boot_info *boot,
			  struct error *err);

#endif
