/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/pci/host.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/pci/host.h"
#include "vmm/base/bytes.h"

static struct pci_host host;

static struct {
	uint64_t offset;
	uint32_t len;
	unsigned reads;
	unsigned writes;
} seen;

static void spy_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	(void)device;
	seen.offset = offset;
	seen.len = len;
	seen.reads++;
	memset(data, 0x5a, len);
}

static void spy_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	(void)device;
	(void)data;
	seen.offset = offset;
	seen.len = len;
	seen.writes++;
}

static const struct bus_ops spy_ops = {.read = spy_read, .write = spy_write};

static void set_up(void)
{
	const struct pci_function spy = {.config = &spy_ops, .window = &spy_ops};

	pci_host_init(&host);
	pci_host_set(&host, 31, &spy);
	memset(&seen, 0, sizeof(seen));
}

TestSuite(pci_host, .init = set_up);

static uint32_t ecam_read(uint64_t offset)
{
	uint8_t data[4] = {0};

	pci_ecam_bus_ops.read(&host, offset, data, sizeof(data));
	return load_le32(data);
}

static uint32_t port_read(uint64_t port, uint32_t len)
{
	uint8_t data[4] = {0};

	pci_ports_bus_ops.read(&host, port, data, len);
	return load_le32(data);
}

static void choose(uint32_t address)
{
	pci_ports_bus_ops.write(&host, 0, (const uint8_t *)&address, sizeof(address));
}

Test(pci_host, the_bridge_is_in_slot_0)
{
	cr_expect_eq(ecam_read(0), 0x0d578086);
	cr_expect_eq(ecam_read(8), 0x06000000);
	cr_expect_eq(ecam_read(0x100), 0, "no extended capabilities");
	for (uint64_t i = 0; i < PCI_CONFIG_SPACE_LEN; i += 4) {
		uint32_t before = ecam_read(i);

		pci_ecam_bus_ops.write(&host, i, (const uint8_t[]){255, 255, 255, 255}, 4);
		cr_expect_eq(ecam_read(i), before);
	}
	choose(0x80000000);
	cr_expect_eq(port_read(4, 4), 0x0d578086);
}

Test(pci_host, what_is_not_there_reads_as_ones)
{
	static const uint64_t absent[] = {
		1 << 15,	    /* slot 1 */
		1 << 12,	    /* function 1 of slot 0 */
		31 << 15 | 7 << 12, /* function 7 of slot 31 */
		1 << 20,	    /* bus 1 */
		UINT64_C(255) << 20,
	};

	for (size_t i = 0; i < ARRAY_COUNT(absent); i++) {
		cr_expect_eq(ecam_read(absent[i]), UINT32_MAX, "case %zu", i);
		pci_ecam_bus_ops.write(&host, absent[i], (const uint8_t[]){0}, 1);
		choose((uint32_t)(absent[i] >> 4) | 0x80000000);
		cr_expect_eq(port_read(4, 4), UINT32_MAX, "case %zu", i);
	}
	cr_expect(seen.reads == 0 && seen.writes == 0);
	pci_host_set(&host, 31, NULL);
	cr_expect_eq(ecam_read(31 << 15), UINT32_MAX);
}

Test(pci_host, both_ways_lead_to_a_function)
{
	cr_expect_eq(ecam_read((31 << 15) + 0xffc), 0x5a5a5a5a);
	cr_expect(seen.offset == 0xffc && seen.len == 4);
	choose(0x80000000 | 31 << 11 | 0x3c);
	cr_expect_eq(port_read(0, 4), 0x80000000 | 31 << 11 | 0x3c);
	for (unsigned port = 4; port < 8; port++) {
		cr_expect_eq(port_read(port, 1), 0x5a);
		cr_expect(seen.offset == 0x3c + port - 4 && seen.len == 1);
		pci_ports_bus_ops.write(&host, port, (const uint8_t[]){1}, 1);
		cr_expect_eq(seen.writes, port - 3);
	}
}

Test(pci_host, the_data_ports_do_nothing_before_they_are_told_what_to_be)
{
	cr_expect_eq(port_read(4, 4), UINT32_MAX);
	choose(31 << 11); /* not enabled */
	cr_expect_eq(port_read(4, 4), UINT32_MAX);
	pci_ports_bus_ops.write(&host, 4, (const uint8_t[]){1}, 1);
	/* Ports of other devices of a PC are here in narrow accesses. */
	pci_ports_bus_ops.write(&host, 1, (const uint8_t[]){6}, 1);
	cr_expect_eq(port_read(1, 1), 0xff);
	cr_expect_eq(port_read(0, 4), 31 << 11);
	cr_expect(seen.reads == 0 && seen.writes == 0);
}

static uint64_t window_read(uint64_t offset, uint32_t len)
{
	uint8_t data[8] = {0};

	pci_windows_bus_ops.read(&host, offset, data, len);
	return load_le64(data);
}

Test(pci_host, each_slot_has_a_window)
{
	const uint64_t last = UINT64_C(30) * PCI_WINDOW_LEN;
	const uint8_t one = 1;

	cr_expect_eq(window_read(last + 0x123, 1), 0x5a);
	cr_expect(seen.offset == 0x123 && seen.len == 1);
	cr_expect_eq(window_read(last + PCI_WINDOW_LEN - 4, 4), 0x5a5a5a5a);
	pci_windows_bus_ops.write(&host, last, &one, 1);
	cr_expect(seen.offset == 0 && seen.writes == 1);
}

Test(pci_host, a_window_of_nobody_reads_as_ones)
{
	const uint64_t last = UINT64_C(30) * PCI_WINDOW_LEN;
	const uint8_t one = 1;

	cr_expect_eq(window_read(0, 8), UINT64_MAX);
	cr_expect_eq(window_read(last - 4, 8), UINT64_MAX, "across two of them");
	cr_expect_eq(window_read(last + PCI_WINDOW_LEN - 4, 8), UINT64_MAX, "across the end");
	pci_windows_bus_ops.write(&host, last - 1, &one, 1);
	pci_host_set(&host, 31, NULL);
	cr_expect_eq(window_read(last, 8), UINT64_MAX);
	pci_windows_bus_ops.write(&host, last, &one, 1);
	cr_expect(seen.reads == 0 && seen.writes == 0);
}
