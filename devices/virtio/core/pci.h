/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-pci transport: a PCI function through which a driver finds and starts a device. */
#ifndef DEVICES_VIRTIO_PCI_H
#define DEVICES_VIRTIO_PCI_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/pci/config.h"
#include "devices/pci/msix.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"
#include "vmm/base/msi_port.h"

enum {
	/* The window of base address 0 [compat]. */
	VIRTIO_PCI_BAR_LEN = 0x80000,
	VIRTIO_PCI_NOTIFY = 0x6000, /* of queue 0, where KVM's ioeventfds listen */
	VIRTIO_PCI_NOTIFY_STEP = 4, /* from queue to queue */
};

/* The transport of one device. */
struct virtio_pci {
	/* immutable */
	struct virtio_dev *dev;
	uint64_t base;		      /* of the window */
	uint8_t window_cap, msix_cap; /* where these capabilities are */
	/* under the device's lock */
	uint32_t device_features_select, driver_features_select;
	uint16_t queue_select;
	/* under `lock` */
	pthread_mutex_t lock; /* taken alone: the device's never waits for KVM */
	struct pci_config config;
	struct msix msix;
	/* shared */
	_Atomic bool is_mapped; /* the window answers */
	_Atomic uint8_t isr;	/* what a driver without MSI-X polls [virtio-1.2 §4.1.4.5] */
	_Atomic uint16_t config_vector;
	_Atomic uint16_t queue_vectors[VIRTIO_QUEUES_MAX];
};

/* How many vectors the device has: one per queue, and one for its configuration. */
unsigned virtio_pci_vectors(const struct virtio_dev *dev);

/* Where a function's window is, and whether a bridge forwards it: such are prefetchable. */
struct virtio_pci_place {
	uint64_t base;
	bool is_behind_bridge;
};

/*
 * Becomes the transport of *dev, before a driver can reach it. Both stay where they are until
 * virtio_pci_destroy, which accepts a zeroed one.
 */
void virtio_pci_init(struct virtio_pci *pci, struct virtio_dev *dev,
		     const struct virtio_pci_place *place, const struct msi_port *port);
void virtio_pci_destroy(struct virtio_pci *pci);

/* The function loses its power: it and its device are as they were made. Waits as virtio_reset. */
void virtio_pci_reset(struct virtio_pci *pci);

/*
 * The function's configuration space, and the window of base address 0 [virtio-1.2 §4.1]. The
 * `device` of both is the struct virtio_pci. Any access in any state is harmless, as in mmio.h. The
 * window answers only while the command register says so; but for notifications, which KVM takes
 * without asking.
 */
extern const struct bus_ops virtio_pci_config_ops;
extern const struct bus_ops virtio_pci_bar_ops;

/* The transport's own registers; the device's are in struct virtio_state. */
struct virtio_pci_state {
	uint32_t device_features_select;
	uint32_t driver_features_select;
	uint16_t queue_select;
	uint8_t isr;
	uint16_t config_vector;
	uint32_t queue_count;
	uint16_t queue_vectors[VIRTIO_QUEUES_MAX];
	uint8_t probed;		       /* struct pci_config */
	uint8_t bytes[PCI_CONFIG_LEN]; /* of which those count that a driver can write */
	struct msix_state msix;
};

void virtio_pci_state_codec(struct codec *codec, struct virtio_pci_state *state);

/* While no vCPU runs and the device is quiet. Changes nothing. VMM thread. */
void virtio_pci_save(struct virtio_pci *pci, struct virtio_pci_state *state);

/*
 * Into the transport of a device that was just made, before virtio_load, with the interrupt
 * controller loaded already. Each vector that is in use and not masked interrupts once, for what
 * may have been lost on the way. ERR_CORRUPT: no driver can have written that. VMM thread.
 */
MUST_CHECK int virtio_pci_load(struct virtio_pci *pci, const struct virtio_pci_state *state,
			       struct error *err);

#endif
