/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts by irqfd [kvm-api 4.75]: firing one is a write(2), never an exit.
 *
 * Theory of operation. A message is an entry of the VM's table of routes [kvm-api 4.52], which KVM
 * takes as a whole: it copies the table and waits until no CPU looks at the old one. That is what a
 * vCPU that changes a message waits for, and other vCPUs only if they change one too. The table
 * never grows beyond an entry per GSI, and what it had before comes back if KVM refuses a change.
 * In KVM's first table each GSI is a pin of the interrupt controller; it is written first here,
 * too.
 */
#include "vmm/machine/irq.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "arch/pci.h"
#include "devices/pci/host.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"
#include "vmm/base/log.h"

/* --- Lines --- */

static void write_edge(int eventfd)
{
	/* Fails only when 2^64 - 2 edges are pending, which is an edge pending. */
	(void)!eventfd_write(eventfd, 1);
}

int gsi_line_init(struct gsi_line *line, int vm_fd, uint32_t gsi, struct error *err)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	line->eventfd = -1;
	if (fd < 0) {
		return error_sys(err, "Cannot create an eventfd for GSI %u", gsi);
	}
	if (kvm_irqfd(vm_fd, fd, gsi, err) < 0) {
		return error_wrap(err, "Cannot bind an interrupt line to GSI %u", gsi);
	}
	line->eventfd = fd_take(&fd);
	return 0;
}

void gsi_line_destroy(struct gsi_line *line)
{
	fd_close(&line->eventfd);
}

static void fire(void *arg)
{
	const struct gsi_line *line = arg;

	write_edge(line->eventfd);
}

static int eventfd_of(void *arg)
{
	const struct gsi_line *line = arg;

	return line->eventfd;
}

struct irq_line gsi_irq_line(struct gsi_line *line)
{
	return (struct irq_line){.fire = fire, .eventfd = eventfd_of, .arg = line};
}

/* --- Messages --- */

enum {
	MSI_GSIS = MSI_GROUPS * MSI_GROUP_VECTORS
};

struct msi_routes {
	/* immutable */
	int vm_fd;
	bool has_device_ids; /* KVM wants to know whose message it is (the ITS of aarch64 does) */
	/* under the lock, a leaf */
	pthread_mutex_t lock;
	uint16_t places[MSI_GSIS]; /* in the table, of a GSI's message; 0: it has none yet */
	struct {
		uint32_t nr; /* of entries */
		uint32_t flags;
		struct kvm_irq_routing_entry entries[ARCH_IRQCHIP_ROUTES_MAX + MSI_GSIS];
	} table; /* a struct kvm_irq_routing, with room */
};

_Static_assert(offsetof(struct msi_routes, table.entries) ==
		       offsetof(struct msi_routes, table) +
			       offsetof(struct kvm_irq_routing, entries),
	       "the table is as KVM takes it");

int msi_routes_new(int vm_fd, struct msi_routes **routes, struct error *err)
{
	struct msi_routes *made = malloc(sizeof(*made));

	if (made == NULL) {
		return error_sys(err, "Cannot allocate the table of interrupt routes");
	}
	/* Entries that no vector needs are not touched: most of 80 KiB. */
	memset(made, 0, offsetof(struct msi_routes, table.entries[ARCH_IRQCHIP_ROUTES_MAX]));
	made->vm_fd = vm_fd;
	made->has_device_ids = kvm_check_extension(vm_fd, KVM_CAP_MSI_DEVID) != 0;
	pthread_mutex_init(&made->lock, NULL);
	made->table.nr = (uint32_t)arch_irqchip_routes(made->table.entries);
	*routes = made;
	return 0;
}

void msi_routes_free(struct msi_routes *routes)
{
	if (routes != NULL) {
		pthread_mutex_destroy(&routes->lock);
		free(routes);
	}
}

static uint32_t gsi_of(const struct msi_group *group, unsigned vector)
{
	return arch_pci.msi_gsi + group->first + vector;
}

_Static_assert((int)MSI_GROUPS == (int)PCI_PLACES - 1, "a group for each place");

/* Bus, device and function of a place in one number. */
static uint32_t device_id(unsigned place)
{
	struct pci_address at = pci_host_address(place);

	return at.bus << 8 | at.slot << 3;
}

int msi_group_init(struct msi_group *group, struct msi_routes *routes, unsigned place,
		   unsigned count, struct error *err)
{
	assert(place > 0 && place <= MSI_GROUPS && count <= MSI_GROUP_VECTORS);
	*group = (struct msi_group){
		.routes = routes,
		.first = (place - 1) * MSI_GROUP_VECTORS,
		.device_id = device_id(place),
	};
	for (; group->count < count; group->count++) {
		struct gsi_line line;

		if (gsi_line_init(&line, routes->vm_fd, gsi_of(group, group->count), err) < 0) {
			msi_group_unbind(group);
			msi_group_destroy(group);
			return -1;
		}
		group->eventfds[group->count] = line.eventfd;
	}
	return 0;
}

void msi_group_destroy(struct msi_group *group)
{
	while (group->count > 0) {
		fd_close(&group->eventfds[--group->count]);
	}
}

void msi_group_unbind(const struct msi_group *group)
{
	for (unsigned i = 0; i < group->count; i++) {
		struct error err = {0};

		if (kvm_irqfd_remove(group->routes->vm_fd, group->eventfds[i], gsi_of(group, i),
				     &err) < 0) {
			log_warn("An interrupt of the PCI device %02x:%02x stays bound: %s",
				 group->device_id >> 8, group->device_id >> 3 & 31, err.msg);
		}
	}
}

/* Of one GSI: flags and function are the same, too. A pin is where a message has its address. */
static bool is_same(const struct kvm_irq_routing_entry *one,
		    const struct kvm_irq_routing_entry *other)
{
	return one->type == other->type && one->u.msi.address_lo == other->u.msi.address_lo &&
	       one->u.msi.address_hi == other->u.msi.address_hi &&
	       one->u.msi.data == other->u.msi.data;
}

/* Under the lock. */
static int set_entry(struct msi_routes *routes, uint32_t index,
		     const struct kvm_irq_routing_entry *entry, struct error *err)
{
	bool is_new = routes->places[index] == 0;
	uint32_t place = is_new ? routes->table.nr : routes->places[index];
	struct kvm_irq_routing_entry before = *entry;

	if (!is_new) {
		before = routes->table.entries[place];
		if (is_same(&before, entry)) {
			return 0;
		}
	}
	routes->table.entries[place] = *entry;
	routes->places[index] = (uint16_t)place;
	routes->table.nr += is_new;
	if (kvm_set_gsi_routing(routes->vm_fd, (void *)&routes->table, err) == 0) {
		return 0;
	}
	routes->table.entries[place] = before;
	if (is_new) {
		routes->places[index] = 0;
		routes->table.nr--;
	}
	return -1;
}

static void route(void *arg, unsigned vector, uint64_t address, uint32_t data)
{
	const struct msi_group *group = arg;
	struct msi_routes *routes = group->routes;
	struct kvm_irq_routing_entry entry = {
		.gsi = gsi_of(group, vector),
		.type = KVM_IRQ_ROUTING_MSI,
	};
	struct error err = {0};

	entry.u.msi.address_lo = (uint32_t)address;
	entry.u.msi.address_hi = (uint32_t)(address >> 32);
	entry.u.msi.data = data;
	if (routes->has_device_ids) {
		entry.flags = KVM_MSI_VALID_DEVID;
		entry.u.msi.devid = group->device_id;
	} else {
		arch_route_message(&entry);
	}
	pthread_mutex_lock(&routes->lock);
	int result = set_entry(routes, group->first + vector, &entry, &err);

	pthread_mutex_unlock(&routes->lock);
	if (result < 0) {
		log_guest_warn("Interrupt %u of the PCI device %02x:%02x can't be message %#x to "
			       "%#llx: %s",
			       vector, group->device_id >> 8, group->device_id >> 3 & 31, data,
			       (unsigned long long)address, err.msg);
	}
}

static void send(void *arg, unsigned vector)
{
	const struct msi_group *group = arg;

	write_edge(group->eventfds[vector]);
}

struct msi_port msi_group_port(struct msi_group *group)
{
	return (struct msi_port){.route = route, .send = send, .arg = group};
}
