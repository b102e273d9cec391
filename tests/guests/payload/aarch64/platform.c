/* SPDX-License-Identifier: Apache-2.0 */
/* The aarch64 machine as a payload sees it: devices in memory, device tree, PSCI. */
#include "tests/guests/payload/aarch64/psci.h"
#include "tests/guests/payload/guest.h"

#define SERIAL UINT64_C(0x40002000)

enum {
	CPUS_MAX = 32,
	/* offsets and tokens [devicetree-0.4 5.2, 5.4] */
	FDT_STRUCT = 8,
	FDT_STRINGS = 12,
	FDT_BEGIN_NODE = 1,
	FDT_END_NODE = 2,
	FDT_PROP = 3,
	FDT_NOP = 4,
};

uint64_t boot_info;
const uint64_t virtio_window = 0x40003000;
const uint64_t pci_ecam = 0x70000000;

/* Indexed by what start.S hands to secondaries. */
volatile uint8_t secondary_runs[CPUS_MAX];

const struct window windows[] = {
	{"serial", false, true, 1, 8, SERIAL, 16},
	{"rtc", false, false, 4, 8, 0x40001000, 64},
	{"rtc identification", false, false, 4, 8, 0x40001fe0, 32},
	{"boot timer", false, false, 0, 8, 0x40000000, 16},
	{"no memory", false, false, 0, 8, 0x60000000, 16},
};
const size_t window_count = COUNT_OF(windows);

uint8_t serial_in(unsigned reg)
{
	return (uint8_t)memory_read(SERIAL + reg, 1);
}

void serial_out(unsigned reg, uint8_t value)
{
	memory_write(SERIAL + reg, 1, value);
}

void serial_write(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		serial_out(0, (uint8_t)text[i]);
	}
}

uint64_t window_read(const struct window *window, unsigned offset, unsigned width)
{
	return memory_read(window->base + offset, width);
}

void window_write(const struct window *window, unsigned offset, unsigned width, uint64_t value)
{
	memory_write(window->base + offset, width, value);
}

static uint32_t be32(uint64_t at)
{
	return __builtin_bswap32((uint32_t)memory_read(at, 4));
}

static uint64_t be64(uint64_t at)
{
	return (uint64_t)be32(at) << 32 | be32(at + 4);
}

static bool begins_with(uint64_t at, const char *text)
{
	for (; *text != '\0'; text++, at++) {
		if (memory_read(at, 1) != (uint8_t)*text) {
			return false;
		}
	}
	return true;
}

static uint64_t string_end(uint64_t at)
{
	while (memory_read(at, 1) != 0) {
		at++;
	}
	return at + 1;
}

static size_t read_reg(uint64_t at, uint64_t len, struct ram_range *ranges, size_t cap)
{
	size_t count = 0;

	for (; len >= 16 && count < cap; len -= 16, at += 16) {
		ranges[count].base = be64(at);
		ranges[count].len = be64(at + 8);
		count++;
	}
	return count;
}

/* Walks the tree for "reg" of the nodes "memory@..."; two cells each for address and size. */
size_t ram_ranges(struct ram_range *ranges, size_t cap)
{
	uint64_t at = boot_info + be32(boot_info + FDT_STRUCT);
	uint64_t strings = boot_info + be32(boot_info + FDT_STRINGS);
	bool is_memory = false;
	size_t count = 0;

	for (;;) {
		uint32_t token = be32(at);

		at += 4;
		if (token == FDT_BEGIN_NODE) {
			is_memory = begins_with(at, "memory@");
			at = (string_end(at) + 3) & ~UINT64_C(3);
		} else if (token == FDT_PROP) {
			uint32_t len = be32(at);

			if (is_memory && begins_with(strings + be32(at + 4), "reg")) {
				count += read_reg(at + 8, len, ranges + count, cap - count);
			}
			at = (at + 8 + len + 3) & ~UINT64_C(3);
		} else if (token == FDT_END_NODE) {
			is_memory = false;
		} else if (token != FDT_NOP) {
			return count;
		}
	}
}

volatile uint64_t *map_word(uint64_t address)
{
	return (volatile uint64_t *)address;
}

void memory_barrier(void)
{
	__asm__ volatile("dmb sy" : : : "memory");
}

void cpu_idle(void)
{
	__asm__ volatile("wfi");
}

/* KVM numbers vCPUs by 16 to a cluster: Aff0 and Aff1 of MPIDR. */
unsigned cpus_start(void)
{
	extern const uint8_t secondary[];
	unsigned started = 0;

	for (uint64_t i = 1; i < CPUS_MAX; i++) {
		uint64_t mpidr = (i >> 4) << 8 | (i & 0xf);

		if (psci(PSCI_CPU_ON, mpidr, (uint64_t)secondary, i) == 0) {
			started++;
		}
	}
	return 1 + started;
}

unsigned cpus_running(void)
{
	unsigned running = 1;

	for (size_t i = 0; i < CPUS_MAX; i++) {
		running += secondary_runs[i];
	}
	return running;
}
