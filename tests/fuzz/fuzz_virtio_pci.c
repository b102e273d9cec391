/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes a PCI bus with a virtio-pci function in slot 1, around a small device that copies what it
 * reads (copier.h): by ECAM, by ports and by the function's window. No message may be sent that was
 * not routed before, or under a mask; the window stays where it is. From time to time the
 * transport is saved and loaded, whole or spoilt.
 */
#include "devices/pci/host.h"
#include "tests/fuzz/copier.h"
#include "vmm/base/bytes.h"

#define BASE UINT64_C(0x4000000000)

enum action {
	ACT_READ,
	ACT_WRITE,
	ACT_SPACE,  /* a register of the function's configuration space */
	ACT_COMMON, /* a register of the common configuration */
	ACT_TABLE,
	ACT_MEMORY, /* the three of enum copier_action */
	ACT_LOOP,
	ACT_CONFIG,
	ACT_HANDSHAKE,
	ACT_STATE,
	ACTIONS
};

enum {
	COMMAND = 0x04,
	BAR = 0x10,
	TABLE = 0x8000,
	WAYS = 3,
};

static struct pci_host host;
static uint64_t routed; /* vectors that have a message */

static void route(void *arg, unsigned vector, uint64_t address, uint32_t data)
{
	const struct copier *copier = arg;

	(void)data;
	require(vector <= QUEUES && (address & 3) == 0);
	require((copier->pci.msix.entries[vector].control & 1) == 0);
	routed |= UINT64_C(1) << vector;
}

static void send(void *arg, unsigned vector)
{
	struct copier *copier = arg;

	require((routed >> vector & 1) != 0);
	require(copier->pci.msix.control == MSIX_CONTROL_ENABLE);
	require((copier->pci.msix.entries[vector].control & 1) == 0);
	copier->interrupts++;
}

static void init_transport(struct copier *copier)
{
	const struct msi_port port = {.route = route, .send = send, .arg = copier};

	virtio_pci_init(&copier->pci, &copier->dev, &(struct virtio_pci_place){.base = BASE},
			&port);
	routed = 0;
}

static void plug(struct copier *copier)
{
	const struct pci_function function = {.config = &virtio_pci_config_ops,
					      .device = &copier->pci};

	init_transport(copier);
	pci_host_init(&host);
	pci_host_set(&host, 1, &function);
}

/* One of the ways to the function. */
static const struct bus_ops *way(struct copier *copier, uint64_t number, void **device)
{
	static const struct bus_ops *const ways[WAYS] = {&pci_ecam_bus_ops, &pci_ports_bus_ops,
							 &virtio_pci_bar_ops};

	*device = number % WAYS == 2 ? (void *)&copier->pci : (void *)&host;
	return ways[number % WAYS];
}

static void write_window(struct copier *copier, uint64_t offset, uint64_t value, uint32_t len)
{
	write_bus(&virtio_pci_bar_ops, &copier->pci, offset, value, len);
}

/* Queue 0 at 0x1000, queue 1 at 0x2000: descriptors, 0x400 on available, 0x800 on used. */
static void handshake(struct copier *copier, uint8_t features)
{
	static const uint8_t status[] = {0, 1, 3};

	write_bus(&virtio_pci_config_ops, &copier->pci, COMMAND, 2, 2);
	for (size_t i = 0; i < ARRAY_COUNT(status); i++) {
		write_window(copier, 0x14, status[i], 1);
	}
	write_window(copier, 0x08, 1, 4);
	write_window(copier, 0x0c, 1, 4);
	write_window(copier, 0x08, 0, 4);
	write_window(copier, 0x0c, (features & 3u) << 28, 4);
	write_window(copier, 0x14, 11, 1);
	for (uint64_t i = 0; i < QUEUES; i++) {
		write_window(copier, 0x16, i, 2);
		write_window(copier, 0x18, 16, 2);
		write_window(copier, 0x1a, i, 2);
		write_window(copier, 0x20, 0x1000 * (i + 1), 8);
		write_window(copier, 0x28, 0x1000 * (i + 1) + 0x400, 8);
		write_window(copier, 0x30, 0x1000 * (i + 1) + 0x800, 8);
		write_window(copier, 0x1c, 1, 2);
	}
	write_window(copier, 0x14, HANDSHAKE, 1);
}

/* A new transport takes over. What an input spoils of the state is refused or harmless. */
static void renew(struct copier *copier, struct input *input)
{
	static struct virtio_pci_state state;
	struct error err = {0};
	uint64_t at = input_number(input, 2) % sizeof(state);
	uint8_t bits = (uint8_t)input_number(input, 1);

	virtio_pci_save(&copier->pci, &state);
	virtio_pci_destroy(&copier->pci);
	init_transport(copier);
	if (bits != 0) {
		((uint8_t *)&state)[at] ^= bits;
	}
	if (virtio_pci_load(&copier->pci, &state, &err) < 0) {
		require(bits != 0 && err.kind == ERR_CORRUPT);
		virtio_pci_destroy(&copier->pci); /* the machine would be, too */
		init_transport(copier);
	}
}

static void access_any(struct copier *copier, bool is_write, struct input *input)
{
	void *device;
	const struct bus_ops *ops = way(copier, input_number(input, 1), &device);
	uint64_t offset = input_number(input, 3);
	uint32_t len = (uint32_t)input_number(input, 1) % 8 + 1;

	if (ops == &pci_ports_bus_ops) {
		offset %= PCI_PORTS_LEN;
		len = (uint32_t)min_u64(len, PCI_PORTS_LEN - offset);
	}
	if (is_write) {
		write_bus(ops, device, offset, input_number(input, len), len);
	} else {
		read_bus(ops, device, offset, len);
	}
}

static void act(struct copier *copier, struct evloop *loop, struct input *input)
{
	enum action action = (enum action)(input_number(input, 1) % ACTIONS);
	uint64_t at;

	switch (action) {
	case ACT_READ:
	case ACT_WRITE:
		access_any(copier, action == ACT_WRITE, input);
		break;
	case ACT_SPACE:
		at = input_number(input, 1);
		write_bus(&virtio_pci_config_ops, &copier->pci, at & ~UINT64_C(3),
			  input_number(input, 4), 4);
		break;
	case ACT_COMMON:
		at = input_number(input, 1) % 0x38;
		write_window(copier, at, input_number(input, 4),
			     at < 0x10 || at >= 0x20	? 4
			     : at == 0x14 || at == 0x15 ? 1
							: 2);
		break;
	case ACT_TABLE:
		at = input_number(input, 1) % ((QUEUES + 1) * 4) * 4;
		write_window(copier, TABLE + at, input_number(input, 4), 4);
		break;
	case ACT_MEMORY:
	case ACT_LOOP:
	case ACT_CONFIG:
		copier_act(copier, loop, (enum copier_action)(action - ACT_MEMORY), input);
		break;
	case ACT_HANDSHAKE:
		handshake(copier, (uint8_t)input_number(input, 1));
		break;
	case ACT_STATE:
	case ACTIONS:
		renew(copier, input);
		break;
	}
	require(load_le64(copier->pci.config.bytes + BAR) == (BASE | 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return copier_run(data, size, plug, act);
}
