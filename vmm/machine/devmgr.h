/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's devices: made in a fixed order, attached to buses and interrupt lines. */
#ifndef VMM_DEVMGR_H
#define VMM_DEVMGR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "arch/boot.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/rtc_pl031.h"
#include "devices/legacy/serial.h"
#include "devices/pci/host.h"
#include "devices/pci/v2m.h"
#include "devices/platform/acpi_sleep.h"
#include "devices/platform/boot_timer.h"
#include "devices/platform/vmclock.h"
#include "devices/platform/vmgenid.h"
#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/pci.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/machine/cmdline.h"
#include "vmm/machine/console.h"
#include "vmm/machine/irq.h"
#include "vmm/machine/ports.h"
#include "vmm/machine/vm.h"

/* A virtio device in its place: address, interrupt and bus range stay as long as it is there. */
struct virtio_slot {
	struct virtio_dev *dev; /* the slot's */
	struct platform_dev place;
	/* PLATFORM_VIRTIO_MMIO */
	struct virtio_mmio mmio;
	struct gsi_line line;
	/* PLATFORM_VIRTIO_PCI */
	struct virtio_pci pci;
	struct msi_group msi;
	unsigned listening; /* queues whose notifications KVM takes */
	int idle;	    /* eventfd of a device that leaves; -1: it stays */
	bool is_unplugged;  /* a request has begun to, and has not ended */
	struct metric_source device_source;
	struct metric_source interrupt_source;
	char name[64]; /* in metrics */
};

struct machine_state;

struct devmgr {
	struct vm *vm;
	struct evloop *loop;
	struct console *console;
	bool has_boot_timer;	 /* --boot-timer was given */
	_Atomic bool has_booted; /* the boot timer fired: told once */
	/* the devices; NULL: this machine has none */
	struct serial *serial;
	struct i8042 *i8042;
	struct rtc_pl031 *rtc;
	struct boot_timer *boot_timer;
	struct acpi_sleep *acpi_sleep;
	struct vmgenid *vmgenid;
	struct vmclock *vmclock;
	struct metric_source serial_source;
	struct metric_source i8042_source;
	struct metric_source rtc_source;
	struct gsi_line lines[ARCH_PLATFORM_DEVS_MAX];
	size_t line_count;
	bool has_pci; /* virtio devices are PCI functions */
	struct pci_host pci;
	struct v2m_frame v2m;	/* where KVM takes no messages */
	struct msi_routes *msi; /* NULL: no PCI bus */
	unsigned port_count;	/* for hot-plug */
	struct hotplug_port ports[PCI_PORTS_MAX];
	unsigned next_port;		   /* to be tried first */
	const struct machine_state *saved; /* while a machine is loaded: where its devices were */
	struct virtio_slot *slots[ARCH_PLATFORM_DEVS_MAX]; /* by place; NULL: free */
};

/* Where devices are attached, and the boot information in which the guest finds them. */
struct attachment {
	struct devmgr *devmgr;
	struct cmdline *cmdline;
	struct boot_info *boot;
};

/* What the constructor of a virtio device is handed. */
struct dev_env devmgr_env(const struct devmgr *devmgr);

/*
 * Makes the PCI bus with `ports` hot-plug ports (PCI_PORTS_MAX at most), and tells at->boot. The
 * virtio devices that are attached afterwards are on it. VMM thread, before any vCPU runs.
 */
MUST_CHECK int devmgr_attach_pci(const struct attachment *at, unsigned ports, struct error *err);

/*
 * Attaches a virtio device at the first free place, and announces it on the command
 * line and in at->boot. The devmgr owns it from this call on: it is freed on failure, too. `id`
 * names it in metrics; NULL where there is only one of the kind. Places are guest ABI: so is the
 * order of calls. VMM thread, before any vCPU runs and before devmgr_attach_platform.
 */
MUST_CHECK int devmgr_attach(const struct attachment *at, struct virtio_dev *dev, const char *id,
			     struct error *err);

/*
 * Makes and attaches this architecture's fixed devices, adds what they need said to the command
 * line, and lists them in boot->devs. The caller has set the first four fields of the devmgr. After
 * a failure too, devmgr_destroy is to be called. VMM thread, before any vCPU runs.
 */
MUST_CHECK int devmgr_attach_platform(const struct attachment *at, struct error *err);

/*
 * The same on a machine that was started, which has a PCI bus: the device is behind a free
 * hot-plug port, which tells the guest, or else in the lowest free slot, where a guest finds it
 * when it looks at the bus again. On failure the machine is as before. VMM thread.
 */
MUST_CHECK int devmgr_plug(struct devmgr *devmgr, struct virtio_dev *dev, const char *id,
			   struct error *err);

/* virtio_leave with an eventfd, until devmgr_stay; *idle -1: nothing is in flight. VMM thread. */
MUST_CHECK int devmgr_leave(struct devmgr *devmgr, struct virtio_dev *dev, int *idle,
			    struct error *err);
void devmgr_stay(struct devmgr *devmgr, struct virtio_dev *dev);

/*
 * Takes a device of the PCI bus out of a machine that was started, and frees it. What is in flight
 * is waited for as at a reset; from then on the guest reads ones where it was. What it has counted
 * stays in the sums. It fails where the vCPUs do not park (vm_do_parked), and the device is as
 * before. VMM thread.
 */
MUST_CHECK int devmgr_unplug(struct devmgr *devmgr, struct virtio_dev *dev, struct error *err);

/* The port that a device is behind; NULL: it is in a slot of the bus. VMM thread. */
struct hotplug_port *devmgr_port(struct devmgr *devmgr, const struct virtio_dev *dev);

/* Refuses a snapshot if there are devices that can't be saved, by their names [compat]. */
MUST_CHECK int devmgr_check_saved(const struct devmgr *devmgr, struct error *err);

/* virtio_quiesce and virtio_resume of all devices. */
void devmgr_quiesce(const struct devmgr *devmgr);
void devmgr_resume(const struct devmgr *devmgr);

/* Frees all devices. A zeroed one is fine. */
void devmgr_destroy(struct devmgr *devmgr);

#endif
