/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hot-plug ports.
 *
 * Theory of operation. The registers are pci_port's, which says what follows from a change: a
 * message to set or to send, power that came or went. The lock is held for that, and never while a
 * device is waited for: a guest that turns the power of a busy disk off waits on its own thread,
 * while the VMM thread can still press the button. A device without power is reset, so that nothing
 * of it touches guest memory.
 */
#include "vmm/machine/ports.h"

#include <string.h>
#include <sys/eventfd.h>

#include "vmm/base/fd.h"

/* Under the lock; true: the slot has lost its power. */
static bool apply(struct hotplug_port *port, unsigned effects)
{
	const struct msi_port message = msi_group_port(&port->msi);
	bool is_linked = pci_port_is_linked(&port->regs);

	if ((effects & PCI_PORT_ROUTE) != 0) {
		uint64_t address;
		uint32_t data;

		pci_port_message(&port->regs, &address, &data);
		message.route(message.arg, 0, address, data);
	}
	if ((effects & PCI_PORT_POWER) != 0) {
		pci_host_link(port->host, port->number, is_linked);
	}
	if ((effects & PCI_PORT_INTERRUPT) != 0) {
		message.send(message.arg, 0);
	}
	return (effects & PCI_PORT_POWER) != 0 && !is_linked;
}

static void config_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct hotplug_port *port = device;

	pthread_mutex_lock(&port->lock);
	pci_port_read(&port->regs, offset, data, len);
	pthread_mutex_unlock(&port->lock);
}

static void config_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	struct hotplug_port *port = device;

	pthread_mutex_lock(&port->lock);
	bool has_lost = apply(port, pci_port_write(&port->regs, offset, data, len));

	/* The reset may take long: a question that comes meanwhile is not answered by it. */
	bool is_given = has_lost && port->is_asked;

	if (is_given) {
		(void)apply(port, pci_port_remove(&port->regs));
	}
	pthread_mutex_unlock(&port->lock);
	if (has_lost && port->device != NULL) {
		virtio_pci_reset(port->device);
	}
	if (is_given) {
		(void)!eventfd_write(port->released, 1);
	}
}

static const struct bus_ops config_ops = {.read = config_read, .write = config_write};

int hotplug_port_init(struct hotplug_port *port, unsigned number, struct pci_host *host,
		      struct msi_routes *routes, uint64_t window, struct error *err)
{
	unsigned slot = PCI_SLOTS - 1 - number;
	const struct pci_function function = {.config = &config_ops, .device = port};
	const struct pci_port_place place = {
		.number = number + 1,
		.window = window + pci_host_window(PCI_SLOTS + number),
		.window_len = PCI_PORT_WINDOW_LEN,
	};

	*port = (struct hotplug_port){
		.is_made = true,
		.number = number,
		.host = host,
		.released = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	if (port->released < 0) {
		return error_sys(err, "Cannot create an eventfd for a hot-plug port");
	}
	if (msi_group_init(&port->msi, routes, slot, 1, err) < 0) {
		return -1;
	}
	pci_port_init(&port->regs, &place);
	pci_host_set(host, slot, &function);
	return 0;
}

void hotplug_port_destroy(struct hotplug_port *port)
{
	if (port->is_made) {
		msi_group_destroy(&port->msi);
		fd_close(&port->released);
		pthread_mutex_destroy(&port->lock);
		port->is_made = false;
	}
}

void hotplug_port_set(struct hotplug_port *port, struct virtio_pci *device)
{
	port->device = device;
}

void hotplug_port_announce(struct hotplug_port *port, bool is_there)
{
	pthread_mutex_lock(&port->lock);
	port->is_asked = false;
	(void)apply(port, is_there ? pci_port_insert(&port->regs) : pci_port_remove(&port->regs));
	pthread_mutex_unlock(&port->lock);
}

bool hotplug_port_ask_back(struct hotplug_port *port)
{
	eventfd_t old;

	/* What an answer that came too late has left. */
	(void)!eventfd_read(port->released, &old);
	pthread_mutex_lock(&port->lock);
	port->is_asked = true;
	bool is_in_use = pci_port_is_linked(&port->regs);

	/* One without power is gone at once: power that comes now comes too late. */
	(void)apply(port, is_in_use ? pci_port_press(&port->regs) : pci_port_remove(&port->regs));
	pthread_mutex_unlock(&port->lock);
	return is_in_use;
}

bool hotplug_port_take_back(struct hotplug_port *port)
{
	pthread_mutex_lock(&port->lock);
	bool is_given = !pci_port_is_linked(&port->regs);

	port->is_asked = false;
	pthread_mutex_unlock(&port->lock);
	return is_given;
}

bool hotplug_port_is_in_use(struct hotplug_port *port)
{
	pthread_mutex_lock(&port->lock);
	bool is_in_use = pci_port_is_linked(&port->regs);

	pthread_mutex_unlock(&port->lock);
	return is_in_use;
}

void hotplug_port_save(const struct hotplug_port *port, struct pci_port_state *state)
{
	pci_port_save(&port->regs, state);
}

void hotplug_port_load(struct hotplug_port *port, const struct pci_port_state *state)
{
	pthread_mutex_lock(&port->lock);
	(void)apply(port, pci_port_load(&port->regs, state));
	pthread_mutex_unlock(&port->lock);
}
