/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime of the payload guests: bare programs of tens of lines, each of which proves one
 * property of the machine it runs in and says so on the serial port.
 *
 * A payload is one file with guest_main; its head says the property and the output to expect. It
 * runs on one vCPU in 64-bit mode, with physical addresses as its pointers, polls rather than
 * taking interrupts, and keeps to integer instructions, so that a KVM which only interprets guests
 * can run it. Memory that nothing was loaded into is 0. When guest_main returns, the guest asks for
 * a reset.
 *
 * runtime.c holds what both architectures share, <architecture>/platform.c the rest.
 */
#ifndef TESTS_GUEST_GUEST_H
#define TESTS_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* The payload's own. */
void guest_main(void);

/* What the boot protocol hands over: the PVH start info, or the device tree. Set before guest_main.
 */
extern uint64_t boot_info;

/* --- Output --- */

void print(const char *text);
void print_number(uint64_t number); /* decimal */
void print_hex(uint64_t number);

/* --- Devices --- */

/* Memory, or a device in it; `width` is 1, 2, 4 or 8 bytes, and the address aligned to it. */
uint64_t memory_read(uint64_t address, unsigned width);
void memory_write(uint64_t address, unsigned width, uint64_t value);

uint8_t serial_in(unsigned reg);
void serial_out(unsigned reg, uint8_t value);

/* Output with as few exits as the architecture can: one for many bytes on x86_64. */
void serial_write(const char *text, size_t len);

/* The first window of virtio-mmio devices; the others follow. */
extern const uint64_t virtio_window;

/* The configuration spaces of PCI functions, where the machine has a bus. */
extern const uint64_t pci_ecam;

/* Where a device is, or where none is, for payloads that try everything. */
struct window {
	const char *name;
	bool is_port;
	bool is_serial;	       /* its first byte is output: not to be written */
	unsigned answer_width; /* accesses of other widths read 0; 0: all of them do */
	unsigned width_max;
	uint64_t base;
	unsigned len;
};

extern const struct window windows[];
extern const size_t window_count;

/* As memory_read and memory_write, or their like for ports. */
uint64_t window_read(const struct window *window, unsigned offset, unsigned width);
void window_write(const struct window *window, unsigned offset, unsigned width, uint64_t value);

/* --- Memory --- */

struct ram_range {
	uint64_t base;
	uint64_t len;
};

/* The RAM that the boot protocol tells of; returns how many ranges were filled, at most `cap`. */
size_t ram_ranges(struct ram_range *ranges, size_t cap);

/* A pointer to the aligned 8 bytes at `address`, valid until the next call. */
volatile uint64_t *map_word(uint64_t address);

/* --- vCPUs --- */

/* Waits for an interrupt, of which there are none: forever, unless the host sees it otherwise. */
void cpu_idle(void);

/* Starts them all and returns how many vCPUs there should be then, this one included. */
unsigned cpus_start(void);

/* How many run by now, this one included. */
unsigned cpus_running(void);

/* A payload's own, if it wants: what its second vCPU does then, of two at most. Never returns. */
void guest_secondary(void) __attribute__((weak));

void memory_barrier(void);

#endif
