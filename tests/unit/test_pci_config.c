/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/pci/config.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/pci/config.h"
#include "vmm/base/bytes.h"

#define WINDOW UINT64_C(0x4000080000)

enum {
	WINDOW_LEN = 0x80000
};

static struct pci_config config;

static void set_up(void)
{
	static const struct pci_identity identity = {
		.vendor = 0x1af4,
		.device = 0x1042,
		.revision = 1,
		.class = 0x018000,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1042,
	};

	pci_config_init(&config, &identity);
	pci_config_add_bar64(&config, 0, WINDOW, WINDOW_LEN, false);
}

TestSuite(pci_config, .init = set_up);

static uint32_t read32(uint64_t offset)
{
	uint8_t data[4] = {0};

	pci_config_read(&config, offset, data, sizeof(data));
	return load_le32(data);
}

static void write32(uint64_t offset, uint32_t value)
{
	uint8_t data[4];

	store_le32(data, value);
	pci_config_write(&config, offset, data, sizeof(data));
}

Test(pci_config, a_function_says_what_it_is)
{
	cr_expect_eq(read32(0x00), 0x10421af4);
	cr_expect_eq(read32(0x08), 0x01800001);
	cr_expect_eq(read32(0x2c), 0x10421af4);
	cr_expect_eq(read32(0x3c), 0, "no pin");
	cr_expect_eq(read32(0x30), 0, "no ROM");
	cr_expect_eq(read32(0x04), 0, "it answers nowhere yet, and has no capabilities");
}

Test(pci_config, few_bits_can_be_written)
{
	uint8_t before[PCI_CONFIG_LEN];
	uint8_t ones[8];

	memset(ones, 0xff, sizeof(ones));
	memcpy(before, config.bytes, sizeof(before));
	for (uint64_t offset = 0; offset < PCI_CONFIG_SPACE_LEN; offset += 8) {
		pci_config_write(&config, offset, ones, sizeof(ones));
	}
	for (unsigned i = 0; i < PCI_CONFIG_LEN; i++) {
		uint8_t bits = i == 4 ? 0x46 : i == 5 ? 0x05 : i == 0xc || i == 0x3c ? 0xff : 0;

		cr_expect_eq(config.bytes[i], before[i] | bits, "byte %#x", i);
	}
}

Test(pci_config, a_guest_learns_the_size_and_can_not_move_the_window)
{
	static const uint32_t values[] = {0, 0xfe000000, 0x80000, UINT32_MAX - 0x10};

	cr_expect_eq(read32(0x10), (uint32_t)WINDOW | 4);
	cr_expect_eq(read32(0x14), (uint32_t)(WINDOW >> 32));
	write32(0x10, UINT32_MAX);
	cr_expect_eq(read32(0x10), 0xfff80004);
	cr_expect_eq(read32(0x14), (uint32_t)(WINDOW >> 32), "one register at a time");
	write32(0x14, UINT32_MAX);
	cr_expect_eq(read32(0x14), UINT32_MAX);
	for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
		write32(0x10, 0xfffffff0);
		cr_expect_eq(read32(0x10), 0xfff80004, "what has no address bits is not looked at");
		write32(0x10, values[i]);
		write32(0x14, values[i]);
		cr_expect_eq(read32(0x10), (uint32_t)WINDOW | 4, "after %#x", values[i]);
		cr_expect_eq(read32(0x14), (uint32_t)(WINDOW >> 32), "after %#x", values[i]);
	}
}

Test(pci_config, both_halves_are_asked_at_once_and_absent_windows_have_no_size)
{
	static const uint8_t ones[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint8_t data[8];

	pci_config_write(&config, 0x10, ones, sizeof(ones));
	pci_config_read(&config, 0x10, data, sizeof(data));
	cr_expect_eq(load_le64(data), UINT64_C(0xfffffffffff80004));
	pci_config_write(&config, 0x18, ones, sizeof(ones));
	cr_expect_eq(read32(0x18), 0);
	/* Half a register is no question. */
	set_up();
	pci_config_write(&config, 0x12, ones, 4);
	pci_config_write(&config, 0x10, ones, 2);
	cr_expect_eq(read32(0x10), (uint32_t)WINDOW | 4);
}

Test(pci_config, capabilities_are_a_list)
{
	static const uint8_t body[] = {1, 2, 3, 4, 5};

	cr_expect_eq(pci_config_add_capability(&config, 9, body, 5), 0x40);
	cr_expect_eq(pci_config_add_capability(&config, 0x11, body, 2), 0x48, "a word begins");
	cr_expect_eq(read32(0x34), 0x40);
	cr_expect_eq(read32(0x04), 0x100000, "the status says so");
	cr_expect_eq(read32(0x40), 0x02014809);
	cr_expect_eq(read32(0x44), 0x00050403);
	cr_expect_eq(read32(0x48), 0x02010011);
	write32(0x44, UINT32_MAX);
	cr_expect_eq(read32(0x44), 0x00050403);
	pci_config_allow(&config, 0x45, 1);
	write32(0x44, UINT32_MAX);
	cr_expect_eq(read32(0x44), 0x0005ff03);
}

Test(pci_config, accesses_of_any_width_stay_within)
{
	for (uint64_t offset = PCI_CONFIG_LEN - 8; offset < PCI_CONFIG_SPACE_LEN; offset += 3) {
		for (uint32_t len = 1; len <= 8; len++) {
			uint8_t data[16];

			memset(data, 0xa7, sizeof(data));
			pci_config_write(&config, offset, data, len);
			pci_config_read(&config, offset, data, len);
			for (uint32_t i = 0; i < sizeof(data); i++) {
				cr_assert_eq(data[i], i < len ? 0 : 0xa7);
			}
		}
	}
}
