/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/pci/port.c: what a guest finds, and the order of events between both sides. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/pci/port.h"
#include "vmm/base/bytes.h"

enum {
	/* Offsets in the PCI Express capability, as Linux names them. */
	LNKSTA = 0x12,
	SLTCAP = 0x14,
	SLTCTL = 0x18,
	SLTSTA = 0x1a,

	ABP = 0x0001, /* enable and event */
	PDC = 0x0008,
	HPIE = 0x0020,
	PDS = 0x0040,
	PCC = 0x0400,
	DLLSC_ENABLE = 0x1000,
	DLLSC = 0x0100,
	DLLLA = 0x2000,
	/* What Linux enables. */
	DRIVER = ABP | HPIE | DLLSC_ENABLE,
	MSI_ENABLE = 1,
};

#define WINDOW UINT64_C(0x4001200000)

static struct pci_port port;

static void set_up(void)
{
	const struct pci_port_place place = {.number = 3, .window = WINDOW, .window_len = 0x100000};

	pci_port_init(&port, &place);
}

TestSuite(pci_port, .init = set_up);

static uint32_t get(uint64_t offset, uint32_t len)
{
	uint8_t data[8] = {0};

	pci_port_read(&port, offset, data, len);
	return load_le32(data);
}

static unsigned set(uint64_t offset, uint32_t len, uint32_t value)
{
	uint8_t data[4];

	store_le32(data, value);
	return pci_port_write(&port, offset, data, len);
}

static uint8_t capability(uint8_t id)
{
	uint8_t at = (uint8_t)get(0x34, 1);

	while (at != 0 && get(at, 1) != id) {
		at = (uint8_t)get(at + 1u, 1);
	}
	cr_assert_neq(at, 0, "there is no capability %#x", id);
	return at;
}

static unsigned set_control(uint16_t value)
{
	return set(capability(0x10) + SLTCTL, 2, value);
}

static uint16_t status(void)
{
	return (uint16_t)get(capability(0x10) + SLTSTA, 2);
}

static unsigned clear(uint16_t events)
{
	return set(capability(0x10) + SLTSTA, 2, events);
}

static bool is_link_up(void)
{
	return (get(capability(0x10) + LNKSTA, 2) & DLLLA) != 0;
}

/* As Linux does when it finds the port: the message, then which events it wants. */
static void bind_driver(void)
{
	uint8_t msi = capability(0x05);

	cr_expect_eq(set(msi + 4, 4, 0xfee01003), PCI_PORT_ROUTE);
	cr_expect_eq(set(msi + 12, 2, 0x21), PCI_PORT_ROUTE);
	cr_expect_eq(set(msi + 2, 2, MSI_ENABLE), PCI_PORT_ROUTE);
	cr_expect_eq(set_control(DRIVER | PCC), 0);
}

Test(pci_port, a_guest_finds_a_bridge_with_its_bus_and_its_window)
{
	cr_expect_eq(get(8, 4), 0x06040000);
	cr_expect_eq(get(0x0e, 1), 1);
	cr_expect_eq(get(0x18, 4), 0x030300, "buses 0, 3, 3");
	cr_expect_eq(get(0x1c, 2), 0, "no I/O");
	cr_expect(get(0x20, 2) > get(0x22, 2), "nothing below 4 GiB is forwarded");
	cr_expect_eq(get(0x24, 4), 0x01210121);
	cr_expect(get(0x28, 4) == 0x40 && get(0x2c, 4) == 0x40);
	cr_expect_eq(get(capability(0x10) + 2u, 2), 0x0142, "a root port, with a slot");
	cr_expect_eq(get(capability(0x10) + SLTCAP, 4), 0x40063 | 3 << 19);
	cr_expect(status() == 0 && !is_link_up() && !pci_port_is_powered(&port));
}

Test(pci_port, bus_and_window_stay)
{
	struct pci_port before = port;

	for (unsigned at = 0x10; at < 0x40; at += 4) {
		(void)set(at, 4, UINT32_MAX);
		(void)set(at, 4, 0);
	}
	(void)set(0x20, 4, get(0x20, 4)); /* may be written */
	cr_expect_eq(memcmp(port.config.bytes + 0x10, before.config.bytes + 0x10, 0x10), 0);
	cr_expect_eq(memcmp(port.config.bytes + 0x24, before.config.bytes + 0x24, 0x10), 0);
	cr_expect(get(0, 4) == 0x000c1b36 && get(0x0e, 1) == 1);
}

Test(pci_port, a_device_that_comes_is_told_and_started_by_the_guest)
{
	bind_driver();
	cr_expect_eq(pci_port_insert(&port), PCI_PORT_INTERRUPT);
	cr_expect_eq(status(), PDS | PDC | ABP);
	cr_expect(!is_link_up());
	cr_expect_eq(clear(PDC | ABP), 0);
	cr_expect_eq(status(), PDS);
	/* Power. */
	cr_expect_eq(set_control(DRIVER), PCI_PORT_POWER | PCI_PORT_INTERRUPT);
	cr_expect(is_link_up() && pci_port_is_linked(&port) && pci_port_is_powered(&port));
	cr_expect_eq(status(), PDS | DLLSC);
	cr_expect_eq(clear(DLLSC), 0);
}

Test(pci_port, a_device_that_is_to_go_goes_when_the_guest_lets_it)
{
	bind_driver();
	(void)pci_port_insert(&port);
	(void)set_control(DRIVER);
	(void)clear(0xffff);
	cr_expect_eq(pci_port_press(&port), PCI_PORT_INTERRUPT);
	cr_expect_eq(status(), PDS | ABP);
	cr_expect(is_link_up());
	cr_expect_eq(clear(ABP), 0);
	cr_expect_eq(set_control(DRIVER | PCC), PCI_PORT_POWER | PCI_PORT_INTERRUPT);
	cr_expect(!is_link_up() && !pci_port_is_powered(&port));
	cr_expect_eq(pci_port_remove(&port), 0, "the link's event is pending still");
	cr_expect_eq(status(), PDC | DLLSC);
	(void)clear(0xffff);
	cr_expect_eq(status(), 0);
}

Test(pci_port, a_device_that_is_torn_out_takes_the_link_down)
{
	bind_driver();
	(void)pci_port_insert(&port);
	(void)set_control(DRIVER);
	(void)clear(0xffff);
	cr_expect_eq(pci_port_remove(&port), PCI_PORT_POWER | PCI_PORT_INTERRUPT);
	cr_expect(status() == (PDC | DLLSC) && !is_link_up() && pci_port_is_powered(&port));
	/* Another one finds the power on. */
	(void)clear(0xffff);
	cr_expect_eq(pci_port_insert(&port), PCI_PORT_POWER | PCI_PORT_INTERRUPT);
	cr_expect(is_link_up());
}

Test(pci_port, one_message_for_all_that_is_pending_and_none_that_is_not_wanted)
{
	(void)set(capability(0x05) + 2u, 2, MSI_ENABLE);
	cr_expect_eq(pci_port_press(&port), 0, "nobody listens");
	cr_expect_eq(set_control(ABP | PCC), 0, "hot-plug interrupts are off");
	cr_expect_eq(set_control(ABP | HPIE | PCC), PCI_PORT_INTERRUPT, "what was pending");
	cr_expect_eq(pci_port_press(&port), 0, "it is pending already");
	cr_expect_eq(clear(PDC), 0);
	cr_expect_eq(status(), ABP, "other events stay");
	cr_expect_eq(clear(ABP), 0);
	cr_expect_eq(pci_port_press(&port), PCI_PORT_INTERRUPT, "anew");
	(void)clear(ABP);
	cr_expect_eq(pci_port_insert(&port), PCI_PORT_INTERRUPT);
	(void)clear(ABP);
	cr_expect_eq(set_control(PDC | HPIE | PCC), PCI_PORT_INTERRUPT, "presence, wanted now");
	/* Without MSI there is no way to tell; with it, all that waits. */
	cr_expect_eq(set(capability(0x05) + 2u, 2, 0), PCI_PORT_ROUTE);
	cr_expect_eq(set(capability(0x05) + 2u, 2, MSI_ENABLE),
		     PCI_PORT_ROUTE | PCI_PORT_INTERRUPT);
}

Test(pci_port, events_are_cleared_by_bytes_too)
{
	uint8_t at = (uint8_t)(capability(0x10) + SLTSTA);

	(void)pci_port_insert(&port);
	(void)set_control(0);
	cr_expect_eq(status(), PDS | PDC | ABP | DLLSC);
	(void)set(at, 1, ABP | PDS);
	cr_expect_eq(status(), PDS | PDC | DLLSC);
	(void)set(at + 1u, 1, 0xff);
	cr_expect_eq(status(), PDS | PDC);
	(void)set(at - 2u, 4, 0xffff0000 | PCC); /* control and status at once */
	cr_expect_eq(status() & ~DLLSC, PDS);
}

Test(pci_port, the_message_is_what_the_guest_wrote)
{
	uint64_t address;
	uint32_t data;

	bind_driver();
	(void)set(capability(0x05) + 8u, 4, 1);
	pci_port_message(&port, &address, &data);
	cr_expect(address == UINT64_C(0x1fee01000) && data == 0x21);
}

/* --- Saving and loading --- */

Test(pci_port, a_port_goes_on_where_it_was)
{
	struct pci_port_state state;
	struct pci_port before;

	bind_driver();
	(void)pci_port_insert(&port);
	(void)set_control(DRIVER);
	(void)clear(0xffff);
	(void)pci_port_press(&port);
	pci_port_save(&port, &state);
	before = port;
	set_up();
	(void)pci_port_insert(&port);
	cr_expect_eq(pci_port_load(&port, &state),
		     PCI_PORT_ROUTE | PCI_PORT_POWER | PCI_PORT_INTERRUPT);
	cr_expect_eq(memcmp(port.config.bytes, before.config.bytes, PCI_CONFIG_LEN), 0);
	cr_expect(port.is_raised);
}

Test(pci_port, a_state_that_no_guest_can_have_made_becomes_one)
{
	struct pci_port_state state;
	struct pci_port fresh = port;

	memset(state.bytes, 0xff, sizeof(state.bytes));
	(void)pci_port_load(&port, &state);
	cr_expect(!pci_port_is_linked(&port), "there is no device");
	cr_expect_eq(status(), PDC | ABP | DLLSC);
	for (unsigned i = 0; i < PCI_CONFIG_LEN; i++) {
		unsigned at = i - capability(0x10);

		if (at != SLTSTA && at != SLTSTA + 1) {
			cr_expect_eq((port.config.bytes[i] ^ fresh.config.bytes[i]) &
					     ~port.config.writable[i],
				     0, "byte %#x", i);
		}
	}
}
