/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's devices.
 *
 * Theory of operation. Virtio devices come first, each at the first free place. On MMIO that is one
 * of the architecture's table, an address and an interrupt, and the guest is told of both on the
 * command line or in its tables. On PCI it is a slot of the bus, with a window of its own and a
 * group of messages, and the guest is told of the bus alone. A notification of the guest arrives as
 * an eventfd in the event loop without an exit of the vCPU, and an interrupt leaves by another one.
 * A machine that is loaded has each device of its PCI bus where it was: devices come and go while a
 * machine runs, so that no order says where they are.
 *
 * Plugging and unplugging are the same steps on a machine that was started. The buses stay: of all
 * that vCPUs look at without a lock, only the slot of the PCI bus changes, while they are parked.
 * KVM's side is set up before and taken away afterwards: nothing can reach it without the slot, but
 * for notifications of a device that is about to go, which it may still take.
 *
 * Then come the fixed devices, one explicit call each, in the order of the architecture's other
 * table.
 */
#include "vmm/machine/devmgr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "arch/pci.h"
#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/virtio.h"
#include "devices/virtio/core/virtio_leave.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"
#include "vmm/base/log.h"
#include "vmm/base/text.h"
#include "vmm/machine/machine_state.h"

_Static_assert((int)VIRTIO_PCI_BAR_LEN == (int)PCI_WINDOW_LEN,
	       "a device's window is that of its slot");

static void reset(void *machine)
{
	vm_signal_end(machine, VM_RESET, "");
}

static const struct machine_ops machine_ops = {.reset = reset};

static void on_boot_timer(void *arg)
{
	struct devmgr *devmgr = arg;

	/* Logged once, however often the guest writes: it must not fill the log. */
	if (!atomic_exchange(&devmgr->has_booted, true)) {
		timeline_log_boot(devmgr->vm->timeline);
	}
}

static void list_metrics(struct devmgr *devmgr, struct metric_source *source,
			 const struct metric_group *group, void *values)
{
	if (devmgr->vm->metrics != NULL) {
		metrics_add(devmgr->vm->metrics, source, group, values);
	}
}

static int make_serial(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
		       struct error *err)
{
	struct serial_config config = console_serial_config(devmgr->console);

	if (serial_new(env, &config, &devmgr->serial, err) < 0) {
		return -1;
	}
	list_metrics(devmgr, &devmgr->serial_source, &serial_metric_group,
		     serial_metrics(devmgr->serial));
	range->ops = &serial_bus_ops;
	range->device = devmgr->serial;
	return 0;
}

static int make_i8042(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
		      struct error *err)
{
	if (i8042_new(env, &devmgr->i8042, err) < 0) {
		return -1;
	}
	list_metrics(devmgr, &devmgr->i8042_source, &i8042_metric_group,
		     i8042_metrics(devmgr->i8042));
	range->ops = &i8042_bus_ops;
	range->device = devmgr->i8042;
	return 0;
}

static int make_rtc_pl031(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
			  struct error *err)
{
	if (rtc_pl031_new(env, &devmgr->rtc, err) < 0) {
		return -1;
	}
	list_metrics(devmgr, &devmgr->rtc_source, &rtc_pl031_metric_group,
		     rtc_pl031_metrics(devmgr->rtc));
	range->ops = &rtc_pl031_bus_ops;
	range->device = devmgr->rtc;
	return 0;
}

static int make_boot_timer(struct devmgr *devmgr, const struct dev_env *env,
			   struct bus_range *range, struct error *err)
{
	struct boot_timer_config config = {.fired = on_boot_timer, .arg = devmgr};

	(void)env;
	if (boot_timer_new(&config, &devmgr->boot_timer, err) < 0) {
		return -1;
	}
	range->ops = &boot_timer_bus_ops;
	range->device = devmgr->boot_timer;
	return 0;
}

static int make_acpi_sleep(struct devmgr *devmgr, const struct dev_env *env,
			   struct bus_range *range, struct error *err)
{
	if (acpi_sleep_new(env, &devmgr->acpi_sleep, err) < 0) {
		return -1;
	}
	range->ops = &acpi_sleep_bus_ops;
	range->device = devmgr->acpi_sleep;
	return 0;
}

static int make_vmgenid(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
			struct error *err)
{
	return vmgenid_new(env, GPA(range->base), &devmgr->vmgenid, err);
}

static int make_vmclock(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
			struct error *err)
{
	return vmclock_new(env, GPA(range->base), &devmgr->vmclock, err);
}

/*
 * A constructor fills in ops and device of the range that it is to be attached at, unless that is
 * guest memory.
 */
static const struct {
	const char *name;
	int (*make)(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
		    struct error *err);
} platform_kinds[] = {
	[PLATFORM_SERIAL] = {"serial port", make_serial},
	[PLATFORM_I8042] = {"i8042 controller", make_i8042},
	[PLATFORM_RTC_PL031] = {"PL031 clock", make_rtc_pl031},
	[PLATFORM_BOOT_TIMER] = {"boot timer", make_boot_timer},
	[PLATFORM_ACPI_SLEEP] = {"ACPI sleep registers", make_acpi_sleep},
	[PLATFORM_VMGENID] = {"VM generation id", make_vmgenid},
	[PLATFORM_VMCLOCK] = {"VMClock", make_vmclock},
};

struct dev_env devmgr_env(const struct devmgr *devmgr)
{
	return (struct dev_env){
		.mem = devmgr->vm->mem,
		.loop = devmgr->loop,
		.clock = &clock_host,
		.machine_ops = &machine_ops,
		.machine = devmgr->vm,
	};
}

/* Tells the guest of a device: on the command line, and in its tables by way of at->boot. */
static int announce(const struct attachment *at, const struct platform_dev *place,
		    struct error *err)
{
	char text[64];

	arch_platform_cmdline(place, text, sizeof(text));
	if (cmdline_add(at->cmdline, text, err) < 0) {
		return -1;
	}
	at->boot->devs[at->boot->dev_count++] = *place;
	return 0;
}

/* --- Virtio devices --- */

/*
 * An id as the name of a group of metrics. It is UTF-8, but a configuration file's ids may have any
 * character, and any length.
 */
static void name_source(struct virtio_slot *slot, const char *id)
{
	size_t len = 0;

	for (; len < sizeof(slot->name) - 1 && id[len] != '\0'; len++) {
		char c = id[len];
		bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
				(c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;

		if (!is_plain) {
			c = '_';
		}
		slot->name[len] = c;
	}
	/* UTF-8 is cut between characters. */
	while (len > 0 && ((unsigned char)id[len] & 0xc0) == 0x80) {
		len--;
	}
	slot->name[len] = '\0';
}

static void list_virtio_metrics(const struct devmgr *devmgr, struct virtio_slot *slot,
				const char *id)
{
	struct metrics *metrics = devmgr->vm->metrics;

	if (metrics == NULL) {
		return;
	}
	if (id != NULL) {
		name_source(slot, id);
	}
	metrics_add_named(metrics, &slot->device_source, slot->dev->class->metrics,
			  slot->dev->metrics, id != NULL ? slot->name : NULL);
	metrics_add(metrics, &slot->interrupt_source, &interrupt_metric_group,
		    &slot->dev->interrupts);
}

static bool is_pci(const struct virtio_slot *slot)
{
	return slot->place.kind == PLATFORM_VIRTIO_PCI;
}

/* Where a driver on PCI notifies of a queue. */
static uint64_t notify_address(const struct virtio_slot *slot, unsigned queue)
{
	return slot->place.base + VIRTIO_PCI_NOTIFY + (uint64_t)queue * VIRTIO_PCI_NOTIFY_STEP;
}

/* Has KVM signal a queue's eventfd for a notification of the guest. */
static int listen_to(const struct devmgr *devmgr, const struct virtio_slot *slot, unsigned queue,
		     struct error *err)
{
	int vm_fd = devmgr->vm->vm_fd;
	int kick = slot->dev->queues[queue].kick.fd;

	return is_pci(slot)
		       ? kvm_ioeventfd_any(vm_fd, kick, notify_address(slot, queue), err)
		       : kvm_ioeventfd(vm_fd, kick, slot->place.base + VIRTIO_MMIO_QUEUE_NOTIFY,
				       queue, err);
}

static int listen_to_all(const struct devmgr *devmgr, struct virtio_slot *slot, struct error *err)
{
	for (; slot->listening < slot->dev->queue_count; slot->listening++) {
		if (listen_to(devmgr, slot, slot->listening, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/*
 * KVM forgets a device of the PCI bus, whole or half connected. The end of a VM does the same to
 * all of them at once, in less time.
 */
static void disconnect(const struct devmgr *devmgr, struct virtio_slot *slot)
{
	while (slot->listening > 0) {
		unsigned queue = --slot->listening;
		struct error err = {0};

		if (kvm_ioeventfd_any_remove(devmgr->vm->vm_fd, slot->dev->queues[queue].kick.fd,
					     notify_address(slot, queue), &err) < 0) {
			log_warn("KVM goes on to listen to queue %u of the device %s: %s", queue,
				 slot->dev->id, err.msg);
		}
	}
	msi_group_unbind(&slot->msi);
}

/* Takes a device out of its place, whole or half attached, and frees both. */
static void detach(const struct devmgr *devmgr, struct virtio_slot *slot)
{
	metrics_remove(devmgr->vm->metrics, &slot->device_source);
	metrics_remove(devmgr->vm->metrics, &slot->interrupt_source);
	virtio_free(slot->dev);
	fd_close(&slot->idle);
	virtio_pci_destroy(&slot->pci);
	msi_group_destroy(&slot->msi);
	gsi_line_destroy(&slot->line);
	free(slot);
}

/* The host's place of slots[index], where the bridge has 0. */
static unsigned host_place(size_t index)
{
	return (unsigned)index + 1;
}

static size_t port_of(size_t index)
{
	return host_place(index) - PCI_SLOTS;
}

static bool is_behind_port(size_t index)
{
	return host_place(index) >= PCI_SLOTS;
}

static void set_pci_place(size_t index, struct platform_dev *place)
{
	*place = (struct platform_dev){
		.kind = PLATFORM_VIRTIO_PCI,
		.bus = BUS_MMIO,
		.base = arch_pci.window + pci_host_window(host_place(index)),
		.len = VIRTIO_PCI_BAR_LEN,
		.gsi = PLATFORM_NO_GSI,
	};
}

/* [compat] */
static int refuse_place(const struct devmgr *devmgr, size_t count, struct error *err)
{
	return devmgr->has_pci ? error_set(err, ERR_TOO_LARGE,
					   "Could not find an available device slot on the PCI "
					   "bus. It has %zu.",
					   count)
			       : error_set(err, ERR_TOO_LARGE,
					   "Could not allocate GSI: The requested resource is not "
					   "available. This machine has interrupts for %zu "
					   "devices.",
					   count);
}

enum {
	NO_PLACE = ARCH_PLATFORM_DEVS_MAX
};

_Static_assert((int)PCI_PLACES <= (int)ARCH_PLATFORM_DEVS_MAX, "each place has a slot");

/* Where a device of the machine that is loaded was; NO_PLACE: unknown, or taken. */
static size_t saved_place(const struct devmgr *devmgr, const struct virtio_dev *dev)
{
	const struct machine_state *saved = devmgr->saved;

	for (uint32_t i = 0; i < saved->slot_count; i++) {
		const struct slot_state *slot = &saved->slots[i];

		if (!slot->is_pci || slot->virtio.type != dev->class->type ||
		    strncmp(slot->virtio.id, dev->id, sizeof(dev->id)) != 0) {
			continue;
		}
		for (size_t at = 0; at < PCI_SLOTS - 1 + devmgr->port_count; at++) {
			if (slot->base == arch_pci.window + pci_host_window(host_place(at)) &&
			    devmgr->slots[at] == NULL) {
				return at;
			}
		}
	}
	return NO_PLACE;
}

/* The first place that is free of `count` from `begin` on. */
static size_t free_place(const struct devmgr *devmgr, size_t begin, size_t count)
{
	for (size_t i = begin; i < begin + count; i++) {
		if (devmgr->slots[i] == NULL) {
			return i;
		}
	}
	return NO_PLACE;
}

/* Of the bus itself: the ports have the last slots. */
static size_t free_slot(const struct devmgr *devmgr)
{
	return free_place(devmgr, 0, PCI_SLOTS - 1 - devmgr->port_count);
}

static size_t choose_pci(const struct devmgr *devmgr, const struct virtio_dev *dev)
{
	size_t at = devmgr->saved != NULL ? saved_place(devmgr, dev) : NO_PLACE;

	return at != NO_PLACE ? at : free_slot(devmgr);
}

/*
 * Ports take turns: for a second after a guest has turned the power of one off, Linux overlooks
 * that a device is there, and then takes its time.
 */
static size_t choose_plugged(struct devmgr *devmgr)
{
	for (unsigned i = 0; i < devmgr->port_count; i++) {
		unsigned port = (devmgr->next_port + i) % devmgr->port_count;
		size_t at = PCI_SLOTS - 1 + port;

		if (devmgr->slots[at] == NULL) {
			devmgr->next_port = port + 1;
			return at;
		}
	}
	return free_slot(devmgr);
}

/* Takes a place of the bus, `index`, if it is one. */
static int take_pci(const struct devmgr *devmgr, struct virtio_slot *slot, size_t index,
		    struct error *err)
{
	if (index == NO_PLACE) {
		return refuse_place(devmgr, PCI_SLOTS - 1 - devmgr->port_count, err);
	}
	set_pci_place(index, &slot->place);
	return 0;
}

static int take_place(const struct devmgr *devmgr, struct virtio_slot *slot, size_t *index,
		      struct error *err)
{
	if (devmgr->has_pci) {
		*index = choose_pci(devmgr, slot->dev);
		return take_pci(devmgr, slot, *index, err);
	}
	*index = free_place(devmgr, 0, ARCH_PLATFORM_DEVS_MAX);
	return *index != NO_PLACE && arch_virtio_slot(*index, &slot->place)
		       ? 0
		       : refuse_place(devmgr, *index, err);
}

static int connect_pci(struct devmgr *devmgr, struct virtio_slot *slot, size_t index,
		       struct error *err)
{
	const struct virtio_pci_place place = {slot->place.base, is_behind_port(index)};
	unsigned vectors = virtio_pci_vectors(slot->dev);

	if (msi_group_init(&slot->msi, devmgr->msi, host_place(index), vectors, err) < 0) {
		return -1;
	}
	const struct msi_port port = msi_group_port(&slot->msi);

	virtio_pci_init(&slot->pci, slot->dev, &place, &port);
	return listen_to_all(devmgr, slot, err);
}

static int connect_mmio(const struct devmgr *devmgr, struct virtio_slot *slot, struct error *err)
{
	const struct bus_range range = {slot->place.base, slot->place.len, &virtio_mmio_bus_ops,
					&slot->mmio};
	const struct registers *registers = &devmgr->vm->registers;
	uint8_t *page = registers_page(registers, slot->place.base);

	if (gsi_line_init(&slot->line, devmgr->vm->vm_fd, (uint32_t)slot->place.gsi, err) < 0) {
		return -1;
	}
	const struct irq_line irq = gsi_irq_line(&slot->line);

	virtio_mmio_init(&slot->mmio, slot->dev, &irq);
	if (page != NULL) {
		virtio_mmio_show(&slot->mmio, page);
	}
	if (listen_to_all(devmgr, slot, err) < 0 ||
	    registers_take_acks(registers, slot->place.base, err) < 0) {
		return -1;
	}
	return bus_attach(&devmgr->vm->mmio, &range, err);
}

/* Gives the device in a slot its interrupt and its notifications, and on MMIO its registers. */
static int connect_slot(struct devmgr *devmgr, struct virtio_slot *slot, size_t index,
			struct error *err)
{
	return is_pci(slot) ? connect_pci(devmgr, slot, index, err)
			    : connect_mmio(devmgr, slot, err);
}

/* What becomes of a slot while no vCPU runs. */
struct change {
	struct devmgr *devmgr;
	struct virtio_slot *slot; /* NULL: it is empty */
	size_t index;
};

/* From now on vCPUs reach the device that is in the slot. */
static void apply(void *arg)
{
	struct change *change = arg;
	struct virtio_slot *slot = change->slot;

	change->devmgr->slots[change->index] = slot;
	if (slot != NULL && !is_pci(slot)) {
		return; /* by way of the MMIO bus */
	}
	const struct pci_function function = {
		.config = &virtio_pci_config_ops,
		.window = &virtio_pci_bar_ops,
		.device = slot != NULL ? &slot->pci : NULL,
	};
	struct devmgr *devmgr = change->devmgr;

	pci_host_set(&devmgr->pci, host_place(change->index), slot != NULL ? &function : NULL);
	if (is_behind_port(change->index)) {
		hotplug_port_set(&devmgr->ports[port_of(change->index)],
				 slot != NULL ? &slot->pci : NULL);
	}
}

static int add_ports(struct devmgr *devmgr, unsigned count, struct error *err)
{
	while (devmgr->port_count < count) {
		unsigned number = devmgr->port_count++;

		if (hotplug_port_init(&devmgr->ports[number], number, &devmgr->pci, devmgr->msi,
				      arch_pci.window, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* What turns messages into interrupts where KVM does not. */
static int attach_msi_frame(struct devmgr *devmgr, struct error *err)
{
	struct vm *vm = devmgr->vm;
	struct arch_msi_frame frame;

	if (!arch_msi_frame(&vm->arch, &frame)) {
		return 0;
	}
	const struct bus_range range = {frame.base, frame.len, &v2m_bus_ops, &devmgr->v2m};

	devmgr->v2m = (struct v2m_frame){.first = frame.first, .count = frame.count};
	return bus_attach(&vm->mmio, &range, err);
}

int devmgr_attach_pci(const struct attachment *at, unsigned ports, struct error *err)
{
	struct devmgr *devmgr = at->devmgr;
	struct vm *vm = devmgr->vm;
	const struct bus_range ecam = {arch_pci.ecam, (ports + 1) * arch_pci.ecam_len,
				       &pci_ecam_bus_ops, &devmgr->pci};
	const struct bus_range windows = {arch_pci.window, PCI_WINDOWS_LEN, &pci_windows_bus_ops,
					  &devmgr->pci};
	const struct bus_range io = {arch_pci.ports, PCI_PORTS_LEN, &pci_ports_bus_ops,
				     &devmgr->pci};

	devmgr->has_pci = true;
	pci_host_init(&devmgr->pci);
	at->boot->has_pci = true;
	at->boot->pci_ports = ports;
	if (attach_msi_frame(devmgr, err) < 0 || msi_routes_new(vm->vm_fd, &devmgr->msi, err) < 0 ||
	    add_ports(devmgr, ports, err) < 0 || bus_attach(&vm->mmio, &ecam, err) < 0 ||
	    bus_attach(&vm->mmio, &windows, err) < 0) {
		return -1;
	}
	return arch_pci.ports != 0 ? bus_attach(&vm->pio, &io, err) : 0;
}

/* A slot that owns *dev, which is freed on failure; NULL: out of memory. */
static struct virtio_slot *new_slot(struct virtio_dev *dev, struct error *err)
{
	struct virtio_slot *slot = calloc(1, sizeof(*slot));

	if (slot == NULL) {
		virtio_free(dev);
		(void)error_sys(err, "Cannot allocate the place of a device");
		return NULL;
	}
	slot->dev = dev;
	slot->line.eventfd = -1;
	slot->idle = -1;
	return slot;
}

int devmgr_attach(const struct attachment *at, struct virtio_dev *dev, const char *id,
		  struct error *err)
{
	struct devmgr *devmgr = at->devmgr;
	struct change change = {.devmgr = devmgr, .slot = new_slot(dev, err)};
	struct virtio_slot *slot = change.slot;

	if (slot == NULL) {
		return -1;
	}
	if (take_place(devmgr, slot, &change.index, err) < 0 ||
	    connect_slot(devmgr, slot, change.index, err) < 0 ||
	    (!is_pci(slot) && announce(at, &slot->place, err) < 0)) {
		detach(devmgr, slot);
		return -1;
	}
	list_virtio_metrics(devmgr, slot, id);
	apply(&change);
	return 0;
}

/* --- On a machine that was started --- */

static int apply_parked(struct change *change, struct error *err)
{
	uint64_t begin_ns = clock_host.now_ns(CLOCK_MONOTONIC);

	if (vm_do_parked(change->devmgr->vm, apply, change, err) < 0) {
		return -1;
	}
	log_debug(
		"PCI place %u has changed: the vCPUs stood for %llu us", host_place(change->index),
		(unsigned long long)((clock_host.now_ns(CLOCK_MONOTONIC) - begin_ns) / NS_PER_US));
	return 0;
}

int devmgr_plug(struct devmgr *devmgr, struct virtio_dev *dev, const char *id, struct error *err)
{
	struct change change = {.devmgr = devmgr, .slot = new_slot(dev, err)};
	struct virtio_slot *slot = change.slot;

	if (slot == NULL) {
		return -1;
	}
	change.index = choose_plugged(devmgr);
	if (take_pci(devmgr, slot, change.index, err) < 0) {
		detach(devmgr, slot);
		return error_wrap(err, "PCI root error");
	}
	if (connect_slot(devmgr, slot, change.index, err) < 0 || apply_parked(&change, err) < 0) {
		disconnect(devmgr, slot);
		detach(devmgr, slot);
		return -1;
	}
	list_virtio_metrics(devmgr, slot, id);
	if (is_behind_port(change.index)) {
		hotplug_port_announce(&devmgr->ports[port_of(change.index)], true);
	}
	return 0;
}

static size_t find_place(const struct devmgr *devmgr, const struct virtio_dev *dev)
{
	size_t i = 0;

	while (devmgr->slots[i] == NULL || devmgr->slots[i]->dev != dev) {
		i++;
		assert(i < ARRAY_COUNT(devmgr->slots));
	}
	return i;
}

struct hotplug_port *devmgr_port(struct devmgr *devmgr, const struct virtio_dev *dev)
{
	size_t index = find_place(devmgr, dev);

	return is_behind_port(index) ? &devmgr->ports[port_of(index)] : NULL;
}

int devmgr_leave(struct devmgr *devmgr, struct virtio_dev *dev, int *idle, struct error *err)
{
	struct virtio_slot *slot = devmgr->slots[find_place(devmgr, dev)];

	assert(slot->idle < 0);
	slot->idle = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (slot->idle < 0) {
		return error_sys(err, "Cannot create an eventfd for %s, which is unplugged",
				 dev->id);
	}
	*idle = virtio_leave(dev, slot->idle) ? -1 : slot->idle;
	return 0;
}

void devmgr_stay(struct devmgr *devmgr, struct virtio_dev *dev)
{
	virtio_stay(dev);
	fd_close(&devmgr->slots[find_place(devmgr, dev)]->idle);
}

int devmgr_unplug(struct devmgr *devmgr, struct virtio_dev *dev, struct error *err)
{
	struct change change = {.devmgr = devmgr, .index = find_place(devmgr, dev)};
	struct virtio_slot *slot = devmgr->slots[change.index];

	if (apply_parked(&change, err) < 0) {
		return -1;
	}
	if (is_behind_port(change.index)) {
		hotplug_port_announce(&devmgr->ports[port_of(change.index)], false);
	}
	disconnect(devmgr, slot);
	/* Its last interrupts and requests count as well. */
	virtio_reset(dev);
	metrics_retire(devmgr->vm->metrics, &slot->device_source);
	metrics_retire(devmgr->vm->metrics, &slot->interrupt_source);
	detach(devmgr, slot);
	return 0;
}

int devmgr_check_saved(const struct devmgr *devmgr, struct error *err)
{
	char names[ERROR_MSG_LEN / 2] = "";
	const char *hint = "";
	struct text text;

	text_init(&text, names, sizeof(names));
	for (size_t i = 0; i < ARRAY_COUNT(devmgr->slots); i++) {
		struct virtio_dev *dev = devmgr->slots[i] != NULL ? devmgr->slots[i]->dev : NULL;

		if (dev == NULL || dev->class->unsaved == NULL ||
		    (dev->class->is_saved != NULL && dev->class->is_saved(dev))) {
			continue;
		}
		text_add(&text, "%s%s(id: %s)", text.len > 0 ? "," : "", dev->class->unsaved,
			 dev->id);
		if (dev->class->is_saved != NULL) {
			hint = ". The back-end must hand out its state "
			       "(VHOST_USER_PROTOCOL_F_DEVICE_STATE), as virtiofsd 1.14 does";
		}
	}
	return text.len == 0 ? 0
			     : error_set(err, ERR_NOT_SUPPORTED,
					 "Devices without snapshot support are present: %s%s",
					 names, hint);
}

void devmgr_quiesce(const struct devmgr *devmgr)
{
	for (size_t i = 0; i < ARRAY_COUNT(devmgr->slots); i++) {
		if (devmgr->slots[i] != NULL) {
			virtio_quiesce(devmgr->slots[i]->dev);
		}
	}
}

void devmgr_resume(const struct devmgr *devmgr)
{
	for (size_t i = 0; i < ARRAY_COUNT(devmgr->slots); i++) {
		if (devmgr->slots[i] != NULL) {
			virtio_resume(devmgr->slots[i]->dev);
		}
	}
}

/* --- Fixed devices --- */

static int attach(struct devmgr *devmgr, const struct platform_dev *dev, struct error *err)
{
	struct vm *vm = devmgr->vm;
	struct bus_range range = {.base = dev->base, .len = dev->len};
	struct dev_env env = devmgr_env(devmgr);

	if (dev->gsi != PLATFORM_NO_GSI) {
		struct gsi_line *line = &devmgr->lines[devmgr->line_count];

		if (gsi_line_init(line, vm->vm_fd, (uint32_t)dev->gsi, err) < 0) {
			return -1;
		}
		devmgr->line_count++;
		env.irq = gsi_irq_line(line);
	}
	if (platform_kinds[dev->kind].make(devmgr, &env, &range, err) < 0) {
		return -1;
	}
	if (dev->bus == BUS_RAM) {
		return 0;
	}
	return bus_attach(dev->bus == BUS_PIO ? &vm->pio : &vm->mmio, &range, err);
}

static bool is_wanted(const struct devmgr *devmgr, const struct platform_dev *dev,
		      const struct cmdline *cmdline)
{
	if (dev->kind == PLATFORM_BOOT_TIMER) {
		return devmgr->has_boot_timer;
	}
	return !dev->needs_console || cmdline_has(cmdline, "console=");
}

int devmgr_attach_platform(const struct attachment *at, struct error *err)
{
	size_t count;
	const struct platform_dev *slots = arch_platform_slots(&count);

	for (size_t i = 0; i < count; i++) {
		if (!is_wanted(at->devmgr, &slots[i], at->cmdline)) {
			continue;
		}
		if (attach(at->devmgr, &slots[i], err) < 0 || announce(at, &slots[i], err) < 0) {
			return error_wrap(err, "Cannot attach the %s",
					  platform_kinds[slots[i].kind].name);
		}
	}
	return 0;
}

void devmgr_destroy(struct devmgr *devmgr)
{
	if (devmgr->vm == NULL) {
		return;
	}
	for (size_t i = ARRAY_COUNT(devmgr->slots); i-- > 0;) {
		if (devmgr->slots[i] != NULL) {
			detach(devmgr, devmgr->slots[i]);
		}
	}
	while (devmgr->port_count > 0) {
		hotplug_port_destroy(&devmgr->ports[--devmgr->port_count]);
	}
	msi_routes_free(devmgr->msi);
	metrics_remove(devmgr->vm->metrics, &devmgr->serial_source);
	metrics_remove(devmgr->vm->metrics, &devmgr->i8042_source);
	metrics_remove(devmgr->vm->metrics, &devmgr->rtc_source);
	serial_free(devmgr->serial);
	i8042_free(devmgr->i8042);
	rtc_pl031_free(devmgr->rtc);
	boot_timer_free(devmgr->boot_timer);
	acpi_sleep_free(devmgr->acpi_sleep);
	vmgenid_free(devmgr->vmgenid);
	vmclock_free(devmgr->vmclock);
	while (devmgr->line_count > 0) {
		gsi_line_destroy(&devmgr->lines[--devmgr->line_count]);
	}
	*devmgr = (struct devmgr){0};
}
