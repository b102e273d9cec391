/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's driver, in process: for unit tests of virtio devices. Guest memory, event loop and
 * interrupt line are its own; the device is reached through its registers and its rings alone.
 *
 *	struct vdriver driver;
 *	vdriver_init(&driver);                          // memory, loop, an environment
 *	x_new(vdriver_env(&driver), ..., &x, &err);
 *	vdriver_start(&driver, x_virtio(x), FEATURES);  // up to DRIVER_OK, all queues of 256
 *
 *	struct vbuf bufs[] = {{header, 16, 0}, {NULL, 4096, VBUF_WRITABLE}};
 *	unsigned chain = vdriver_add(&driver, 0, bufs, 2);
 *	vdriver_kick(&driver, 0);
 *	vdriver_run(&driver);                           // the loop, until nothing is ready
 *	vdriver_used(&driver, 0, &used);                // used.id == chain, used.len
 *	vdriver_get(&driver, 0, chain, 1, data, 4096);  // what the device wrote
 *	cr_assert(vdriver_interrupts(&driver) == 1);
 *	vdriver_stop(&driver);                          // reset
 *	vdriver_destroy(&driver);                       // behind x_free
 * What can't be (a full queue, memory that is used up) aborts with a message.
 */
#ifndef TESTS_LIB_VDRIVER_H
#define TESTS_LIB_VDRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/virtio.h"
#include "tests/lib/vring.h"
#include "vmm/base/evloop.h"

struct virtio_pci;

/* Memory: two regions that touch at 16 MiB, a hole where devices would be, and one more. */
#define VDRIVER_MEM_LEN (UINT64_C(32) << 20)
#define VDRIVER_HOLE (UINT64_C(32) << 20)
#define VDRIVER_HIGH (UINT64_C(4) << 30)
#define VDRIVER_HIGH_LEN (UINT64_C(1) << 20)

enum {
	VDRIVER_QUEUE_SIZE = 256,
	VBUF_WRITABLE = 1, /* by the device */
};

/* One segment of a chain. */
struct vbuf {
	const void *data; /* NULL: zeroes, or for a writable one a pattern of 0xee */
	uint32_t len;
	unsigned flags;
};

/* What the driver remembers of a chain, by its head. */
struct vdriver_chain {
	bool is_offered;
	bool is_indirect;
	uint16_t count; /* of segments */
	gpa_t block;	/* the segments and the table; kept for the next chain of this head */
	uint64_t block_len;
};

struct vdriver_queue {
	struct vring ring;
	bool is_used[VDRIVER_QUEUE_SIZE]; /* the descriptors */
	uint16_t next[VDRIVER_QUEUE_SIZE];
	struct vdriver_chain chains[VDRIVER_QUEUE_SIZE];
	uint16_t notified; /* how many chains were offered when we last notified */
};

struct vdriver {
	struct gmem *mem;
	struct evloop loop;
	struct clock clock; /* clock_host's unless a test changes it */
	struct dev_env env;
	struct virtio_dev *dev;			   /* set by vdriver_plug */
	struct virtio_mmio mmio;		   /* its transport */
	_Alignas(8) uint8_t page[VIRTIO_MMIO_LEN]; /* its registers; vdriver_status compares */
	struct virtio_pci *pci; /* the one in its place (vdriver_pci.h); NULL: none */
	uint64_t features;	/* negotiated */
	uint16_t queue_size;	/* VDRIVER_QUEUE_SIZE unless a test asks for less */
	struct vdriver_queue queues[VIRTIO_QUEUES_MAX];
	gpa_t free_at; /* the memory from here on is free */
	_Atomic unsigned interrupts;
};

void vdriver_init(struct vdriver *driver);
void vdriver_init_shared(struct vdriver *driver); /* with memory that others can map */
void vdriver_destroy(struct vdriver *driver);
struct dev_env *vdriver_env(struct vdriver *driver);
void vdriver_plug(struct vdriver *driver, struct virtio_dev *dev); /* as its transport */
gpa_t vdriver_alloc(struct vdriver *driver, uint64_t len); /* for a test, aligned to 4 KiB */

/* --- registers --- */
uint32_t vdriver_read(struct vdriver *driver, uint64_t reg);
void vdriver_write(struct vdriver *driver, uint64_t reg, uint32_t value);
void vdriver_read_config(struct vdriver *driver, uint64_t offset, void *buf, uint32_t len);
void vdriver_write_config(struct vdriver *driver, uint64_t offset, const void *buf, uint32_t len);
uint8_t vdriver_status(struct vdriver *driver);
uint64_t vdriver_offered(struct vdriver *driver);

/*
 * Resets the device and starts it: `features` and VERSION_1 are accepted as far as offered. True
 * if the device works then. `_begin` ends after FEATURES_OK and the registers of the queues, so
 * that a test can spoil something before vdriver_finish.
 */
bool vdriver_start(struct vdriver *driver, struct virtio_dev *dev, uint64_t features);
bool vdriver_begin(struct vdriver *driver, struct virtio_dev *dev, uint64_t features);
bool vdriver_finish(struct vdriver *driver);
void vdriver_stop(struct vdriver *driver);			/* status 0 */
void vdriver_set_queue(struct vdriver *driver, unsigned index); /* writes its registers */

/* --- chains --- */

/* Shows the device a chain of `count` segments, without a notification; returns its head. */
unsigned vdriver_add(struct vdriver *driver, unsigned queue, const struct vbuf *bufs, size_t count);

/* As a driver does if the device wants it; vdriver_notify, whether it does or not. */
void vdriver_kick(struct vdriver *driver, unsigned queue);
void vdriver_notify(struct vdriver *driver, unsigned queue);	  /* as KVM's ioeventfd */
void vdriver_notify_exit(struct vdriver *driver, unsigned queue); /* by the register */

/* Dispatches what is ready, at most 10000 batches; returns how many had something. */
unsigned vdriver_run(struct vdriver *driver);
/* Pauses the device, aborts if it keeps a chain, and restores its queues from saved states. */
void vdriver_pause(struct vdriver *driver);
void vdriver_resume(struct vdriver *driver);

/* Waits until `condition` holds, as a thread or io_uring is at work; aborts after 10 s. */
void vdriver_wait(struct vdriver *driver, bool (*condition)(void *arg), void *arg);
void vdriver_wait_used(struct vdriver *driver, unsigned queue); /* for one that is not taken yet */

/*
 * Takes the next entry of a used ring, and with event index asks for an interrupt for the one
 * after; false if there is none. The chain's memory stays readable until its number is used again.
 */
bool vdriver_used(struct vdriver *driver, unsigned queue, struct vring_used *used);

/* From a segment of a chain. */
void vdriver_get(struct vdriver *driver, unsigned queue, unsigned chain, unsigned segment,
		 void *buf, size_t len);

/* Where a segment is, for chains that a test wants to spoil. */
gpa_t vdriver_segment(struct vdriver *driver, unsigned queue, unsigned chain, unsigned segment);

/* Interrupts since the last call; the interrupt status is acknowledged like a driver would. */
unsigned vdriver_interrupts(struct vdriver *driver);

#endif
