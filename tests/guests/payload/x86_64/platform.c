/* SPDX-License-Identifier: Apache-2.0 */
/* The x86_64 machine as a payload sees it: ports, PVH start info, ACPI, local APIC. */
#include "tests/guests/payload/guest.h"
#include "tests/guests/payload/x86_64/io.h"

enum {
	SERIAL = 0x3f8,
	START_INFO_RSDP = 32, /* offsets [xen-pvh hvm_start_info] */
	START_INFO_MEMMAP = 40,
	START_INFO_MEMMAP_COUNT = 48,
	MEMMAP_ENTRY_LEN = 24,
	MEMMAP_RAM = 1,
	RSDP_XSDT = 24, /* offsets [acpi-6.5 5.2] */
	TABLE_LEN = 4,
	XSDT_ENTRIES = 36,
	MADT_ENTRIES = 44,
	MADT_LAPIC = 0,
	MADT_LAPIC_FLAGS = 4,
	SIPI_PAGE = 0x10000, /* free: the boot data ends below, the command line begins above */
};

uint64_t boot_info;
const uint64_t virtio_window = 0xc0001000;
const uint64_t pci_ecam = 0xeec00000;

const struct window windows[] = {
	{"serial", true, true, 1, 4, SERIAL, 8},
	{"i8042 data", true, false, 1, 4, 0x60, 1},
	{"i8042 command", true, false, 1, 4, 0x64, 1},
	{"boot timer", false, false, 0, 8, 0xc0000000, 16},
	{"no port", true, false, 0, 4, 0x2f8, 8},
	{"no memory", false, false, 0, 8, 0xd0000000, 16},
};
const size_t window_count = COUNT_OF(windows);

uint8_t serial_in(unsigned reg)
{
	return inb((uint16_t)(SERIAL + reg));
}

void serial_out(unsigned reg, uint8_t value)
{
	outb((uint16_t)(SERIAL + reg), value);
}

void serial_write(const char *text, size_t len)
{
	__asm__ volatile("rep outsb" : "+S"(text), "+c"(len) : "d"(SERIAL) : "memory");
}

static uint64_t port_read(uint16_t port, unsigned width)
{
	switch (width) {
	case 1:
		return inb(port);
	case 2:
		return inw(port);
	default:
		return inl(port);
	}
}

static void port_write(uint16_t port, unsigned width, uint64_t value)
{
	switch (width) {
	case 1:
		outb(port, (uint8_t)value);
		break;
	case 2:
		outw(port, (uint16_t)value);
		break;
	default:
		outl(port, (uint32_t)value);
		break;
	}
}

uint64_t window_read(const struct window *window, unsigned offset, unsigned width)
{
	uint64_t at = window->base + offset;

	return window->is_port ? port_read((uint16_t)at, width) : memory_read(at, width);
}

void window_write(const struct window *window, unsigned offset, unsigned width, uint64_t value)
{
	uint64_t at = window->base + offset;

	if (window->is_port) {
		port_write((uint16_t)at, width, value);
	} else {
		memory_write(at, width, value);
	}
}

size_t ram_ranges(struct ram_range *ranges, size_t cap)
{
	uint64_t entry = memory_read(boot_info + START_INFO_MEMMAP, 8);
	uint64_t entries = memory_read(boot_info + START_INFO_MEMMAP_COUNT, 4);
	size_t count = 0;

	for (; entries > 0 && count < cap; entries--, entry += MEMMAP_ENTRY_LEN) {
		if (memory_read(entry + 16, 4) == MEMMAP_RAM) {
			ranges[count].base = memory_read(entry, 8);
			ranges[count].len = memory_read(entry + 8, 8);
			count++;
		}
	}
	return count;
}

/* Memory above 4 GiB shows through one 2 MiB page at 4 GiB, which moves where it is needed. */
volatile uint64_t *map_word(uint64_t address)
{
	enum {
		PAGE_TABLE = 0x3,
		PAGE_2M = 0x83,
		PAGE_2M_LEN = 0x200000,
		WINDOW_SLOT = 4
	};
	extern uint64_t pdpt[];
	static uint64_t directory[512] __attribute__((aligned(0x1000)));
	const uint64_t window = (uint64_t)WINDOW_SLOT << 30;
	uint64_t cr3;

	if (address < window) {
		return (volatile uint64_t *)address;
	}
	directory[0] = (address & ~(uint64_t)(PAGE_2M_LEN - 1)) | PAGE_2M;
	pdpt[WINDOW_SLOT] = (uint64_t)directory | PAGE_TABLE;
	__asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(cr3) : : "memory");
	return (volatile uint64_t *)(window | (address & (PAGE_2M_LEN - 1)));
}

void memory_barrier(void)
{
	__asm__ volatile("lock addl $0, (%%rsp)" : : : "memory", "cc");
}

void cpu_idle(void)
{
	__asm__ volatile("hlt");
}

/* Counts the processors that the MADT calls enabled; 0 without the tables. */
static unsigned madt_cpus(void)
{
	uint64_t rsdp = memory_read(boot_info + START_INFO_RSDP, 8);
	uint64_t xsdt = rsdp != 0 ? memory_read(rsdp + RSDP_XSDT, 8) : 0;
	uint64_t xsdt_end = xsdt != 0 ? xsdt + memory_read(xsdt + TABLE_LEN, 4) : 0;
	unsigned cpus = 0;

	for (uint64_t entry = xsdt + XSDT_ENTRIES; entry < xsdt_end; entry += 8) {
		uint64_t table = memory_read(entry, 8);
		uint64_t end = table + memory_read(table + TABLE_LEN, 4);

		if (memory_read(table, 4) != 0x43495041) { /* "APIC" */
			continue;
		}
		for (uint64_t at = table + MADT_ENTRIES; at + 2 <= end;
		     at += memory_read(at + 1, 1)) {
			if (memory_read(at, 1) == MADT_LAPIC) {
				cpus += (unsigned)memory_read(at + MADT_LAPIC_FLAGS, 4) & 1;
			}
		}
	}
	return cpus;
}

/* INIT and SIPI to all but this one [intel-sdm 3 11.4.4]. */
unsigned cpus_start(void)
{
	const uint64_t icr = 0xfee00300;
	extern const uint8_t secondary[], secondary_end[];
	extern uint16_t secondary_goes_on;

	secondary_goes_on = guest_secondary != NULL;

	for (size_t i = 0; i < (size_t)(secondary_end - secondary); i++) {
		memory_write(SIPI_PAGE + i, 1, secondary[i]);
	}
	memory_write(icr, 4, 0xc4500);
	memory_write(icr, 4, 0xc4600 | SIPI_PAGE >> 12);
	return madt_cpus();
}

unsigned cpus_running(void)
{
	extern const uint8_t secondary[], secondary_count[];

	return 1 + (unsigned)memory_read(SIPI_PAGE + (uint64_t)(secondary_count - secondary), 2);
}
