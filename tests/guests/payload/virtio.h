/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small polling driver of virtio devices on MMIO [virtio-1.2 §4.2] or PCI [§4.1], for payloads
 * that are not content with what a driver may do: all rings are theirs to spoil.
 *
 * The machine has one device of each kind: balloon, block, net, vsock, entropy, in this order from
 * the first window on, or from slot 1 of the PCI bus on. A driver names registers as those of MMIO.
 * The disk's word of 8 bytes at offset o is DISK_MARK + o.
 */
#ifndef TESTS_GUEST_VIRTIO_H
#define TESTS_GUEST_VIRTIO_H

#include "tests/guests/payload/guest.h"

enum {
	DEV_BALLOON,
	DEV_BLOCK,
	DEV_NET,
	DEV_VSOCK,
	DEV_ENTROPY,
	DEVICES,

	QUEUES_MAX = 5,
	QUEUE_SIZE = 16,
	WINDOW_LEN = 0x1000,
	PCI_SLOT_LEN = 0x8000, /* of ECAM */
	PCI_WINDOW_LEN = 0x80000,
	PCI_TABLE = 0x8000, /* MSI-X, in a function's window */
	PCI_PENDING = 0x48000,

	/* registers */
	REG_MAGIC = 0x00,
	REG_DEVICE_ID = 0x08,
	REG_FEATURES = 0x10,
	REG_FEATURES_SEL = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_SEL = 0x30,
	REG_QUEUE_NUM_MAX = 0x34,
	REG_QUEUE_NUM = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_QUEUE_NOTIFY = 0x50,
	REG_STATUS = 0x70,
	REG_QUEUE_DESC = 0x80,
	REG_QUEUE_AVAIL = 0x90,
	REG_QUEUE_USED = 0xa0,
	REG_CONFIG = 0x100,

	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 64,
	STATUS_FAILED = 128,

	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,

	SECTOR = 512,
};

#define DISK_MARK UINT64_C(0x7371756200000000)

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct rings {
	struct desc desc[QUEUE_SIZE];
	struct {
		uint16_t flags;
		uint16_t idx;
		uint16_t ring[QUEUE_SIZE];
		uint16_t used_event;
	} avail __attribute__((aligned(16)));
	struct {
		uint16_t flags;
		uint16_t idx;
		struct {
			uint32_t id;
			uint32_t len;
		} ring[QUEUE_SIZE];
		uint16_t avail_event;
	} used __attribute__((aligned(16)));
};

struct device {
	uint64_t base;
	unsigned queues;
	volatile struct rings *rings[QUEUES_MAX];
};

extern struct device devices[DEVICES];
extern const char *const device_names[DEVICES];

/* Finds all five; false and says so, if one is not there. On PCI their windows are mapped then. */
bool devices_find(void);

/* They are on PCI; the configuration space of the function of device `index`. */
bool devices_are_on_pci(void);
uint64_t device_config_space(unsigned index);

uint32_t device_read(const struct device *device, unsigned reg);
void device_write(const struct device *device, unsigned reg, uint32_t value);
void device_write64(const struct device *device, unsigned reg, uint64_t value);

/* Reset, and up to FEATURES_OK with what `wanted` leaves of the offered features. */
void device_begin(struct device *device, uint64_t wanted);
/* Tells the device of queue `index`: its own empty rings, or those at other addresses. */
void device_queue(struct device *device, unsigned index);
void device_queue_at(struct device *device, unsigned index, uint64_t desc, uint64_t avail,
		     uint64_t used);
/* DRIVER_OK. */
void device_run(struct device *device);
/* All of it, with VERSION_1 alone. */
void device_start(struct device *device);
void device_notify(const struct device *device, unsigned queue);

void desc_set(volatile struct desc *desc, volatile void *addr, uint32_t len, uint16_t flags,
	      uint16_t next);

/* Makes `head` available. */
void rings_offer(volatile struct rings *rings, uint16_t head);

/* With the device started: reads a sector and looks at it; gets random bytes. false: says why. */
bool disk_works(uint64_t sector);
bool entropy_works(void);

/* A page of the payload's, for buffers. */
extern uint8_t scratch[0x1000];

uint64_t random_next(void);

#endif
