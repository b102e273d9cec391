/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI bus: finds the function that an access is for. */
#include "devices/pci/host.h"

#include <assert.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	/* [compat] */
	BRIDGE_VENDOR = 0x8086,
	BRIDGE_DEVICE = 0x0d57,
	BRIDGE_CLASS = 0x060000,

	SLOT_SHIFT = 3, /* of device and function, below which is the function */
	BUS_SHIFT = 8,
	ECAM_SHIFT = 12,

	PORT_ADDRESS = 0,
	PORT_DATA = 4,
	WORD = 4,
};

#define ADDRESS_ENABLE UINT32_C(0x80000000)

static void bridge_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	const struct pci_host *host = device;

	pci_config_read(&host->bridge, offset, data, len);
}

/* Its registers are for reading: it has no windows, and its command register does nothing. */
static void bridge_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	(void)device;
	(void)offset;
	(void)data;
	(void)len;
}

static const struct bus_ops bridge_ops = {.read = bridge_read, .write = bridge_write};

void pci_host_init(struct pci_host *host)
{
	static const struct pci_identity identity = {
		.vendor = BRIDGE_VENDOR, .device = BRIDGE_DEVICE, .class = BRIDGE_CLASS};

	*host = (struct pci_host){.functions[0] = {.config = &bridge_ops, .device = host}};
	pci_config_init(&host->bridge, &identity);
}

void pci_host_set(struct pci_host *host, unsigned place, const struct pci_function *function)
{
	assert(place > 0 && place < PCI_PLACES);
	host->functions[place] = function != NULL ? *function : (struct pci_function){0};
}

void pci_host_link(struct pci_host *host, unsigned port, bool is_up)
{
	assert(port < PCI_PORTS_MAX);
	atomic_store(&host->is_linked[port], is_up);
}

struct pci_address pci_host_address(unsigned place)
{
	if (place < PCI_SLOTS) {
		return (struct pci_address){.slot = place};
	}
	return (struct pci_address){.bus = place - PCI_SLOTS + 1};
}

uint64_t pci_host_window(unsigned place)
{
	return place < PCI_SLOTS
		       ? (uint64_t)(place - 1) * PCI_WINDOW_LEN
		       : PCI_PORT_WINDOWS + (uint64_t)(place - PCI_SLOTS) * PCI_PORT_WINDOW_LEN;
}

/* NULL: nothing is there, or nothing that can be reached. */
static const struct pci_function *at_place(const struct pci_host *host, uint64_t place)
{
	if (place >= PCI_PLACES || host->functions[place].config == NULL ||
	    (place >= PCI_SLOTS && !atomic_load(&host->is_linked[place - PCI_SLOTS]))) {
		return NULL;
	}
	return &host->functions[place];
}

/* By bus, device and function in one number, as in both ways; NULL: there is none. */
static const struct pci_function *find(const struct pci_host *host, uint64_t id)
{
	uint64_t bus = id >> BUS_SHIFT;
	uint64_t slot = id % (1u << BUS_SHIFT) >> SLOT_SHIFT;

	if ((id & ((1u << SLOT_SHIFT) - 1)) != 0 || (bus > 0 && slot > 0)) {
		return NULL;
	}
	return at_place(host, bus == 0 ? slot : PCI_SLOTS + bus - 1);
}

static void read_function(const struct pci_function *function, uint64_t offset, uint8_t *data,
			  uint32_t len)
{
	if (function == NULL) {
		memset(data, 0xff, len);
		return;
	}
	function->config->read(function->device, offset, data, len);
}

static void write_function(const struct pci_function *function, uint64_t offset,
			   const uint8_t *data, uint32_t len)
{
	if (function != NULL) {
		function->config->write(function->device, offset, data, len);
	}
}

/* --- ECAM --- */

static void ecam_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	read_function(find(device, offset >> ECAM_SHIFT), offset % PCI_CONFIG_SPACE_LEN, data, len);
}

static void ecam_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	write_function(find(device, offset >> ECAM_SHIFT), offset % PCI_CONFIG_SPACE_LEN, data,
		       len);
}

const struct bus_ops pci_ecam_bus_ops = {.read = ecam_read, .write = ecam_write};

/* --- Ports --- */

/* What the data ports mean now; NULL: nothing. *offset is of the byte at `port`. */
static const struct pci_function *selected(const struct pci_host *host, uint64_t port,
					   uint64_t *offset)
{
	uint32_t address = atomic_load(&host->address);

	*offset = (address & 0xfc) + port - PORT_DATA;
	return (address & ADDRESS_ENABLE) != 0 ? find(host, address >> 8 & 0xffff) : NULL;
}

static void ports_read(void *device, uint64_t port, uint8_t *data, uint32_t len)
{
	const struct pci_host *host = device;
	uint64_t offset;

	if (port >= PORT_DATA) {
		const struct pci_function *function = selected(host, port, &offset);

		read_function(function, offset, data, len);
	} else if (port == PORT_ADDRESS && len == WORD) {
		store_le32(data, atomic_load(&host->address));
	} else {
		memset(data, 0xff, len);
	}
}

static void ports_write(void *device, uint64_t port, const uint8_t *data, uint32_t len)
{
	struct pci_host *host = device;
	uint64_t offset;

	if (port >= PORT_DATA) {
		const struct pci_function *function = selected(host, port, &offset);

		write_function(function, offset, data, len);
	} else if (port == PORT_ADDRESS && len == WORD) {
		atomic_store(&host->address, load_le32(data));
	}
}

const struct bus_ops pci_ports_bus_ops = {.read = ports_read, .write = ports_write};

/* --- Windows --- */

/* Whose window has all of an access; NULL: nobody's. */
static const struct pci_function *window_at(const struct pci_host *host, uint64_t offset,
					    uint32_t len)
{
	uint64_t place = 1 + offset / PCI_WINDOW_LEN;

	if (offset >= PCI_PORT_WINDOWS) {
		place = PCI_SLOTS + (offset - PCI_PORT_WINDOWS) / PCI_PORT_WINDOW_LEN;
	} else if (place >= PCI_SLOTS) {
		return NULL;
	}
	bool is_whole = (offset - pci_host_window((unsigned)place)) <= PCI_WINDOW_LEN - len;
	const struct pci_function *function = is_whole ? at_place(host, place) : NULL;

	return function != NULL && function->window != NULL ? function : NULL;
}

static void windows_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	const struct pci_function *function = window_at(device, offset, len);

	if (function != NULL) {
		function->window->read(function->device, offset % PCI_WINDOW_LEN, data, len);
	} else {
		memset(data, 0xff, len);
	}
}

static void windows_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	const struct pci_function *function = window_at(device, offset, len);

	if (function != NULL) {
		function->window->write(function->device, offset % PCI_WINDOW_LEN, data, len);
	}
}

const struct bus_ops pci_windows_bus_ops = {.read = windows_read, .write = windows_write};
