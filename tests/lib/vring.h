/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's side of one split virtqueue: descriptors, available and used ring, laid out in a gmem.
 * It does what it is told, so that tests can lay out nonsense; a range that is not RAM aborts.
 * All accesses to the rings are atomic, so a "vCPU" may be another thread of the test.
 */
#ifndef TESTS_LIB_VRING_H
#define TESTS_LIB_VRING_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/core/virtq.h"
#include "vmm/base/gmem.h"

enum {
	VRING_NEXT = 1,
	VRING_WRITE = 2,
	VRING_INDIRECT = 4,
};

struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct vring_used {
	uint32_t id;
	uint32_t len;
};

struct vring {
	struct gmem *mem;
	uint16_t size;
	gpa_t desc;
	gpa_t avail;
	gpa_t used;
	uint16_t avail_idx; /* the next to offer */
	uint16_t used_idx;  /* the next to take */
};

/* Bytes that the three rings take from their base on. */
uint64_t vring_len(uint16_t size);

/* Places empty rings of `size` entries (a power of two) at `base`, aligned to 16 bytes. */
void vring_init(struct vring *ring, struct gmem *mem, gpa_t base, uint16_t size);

/* Starts with all indexes (ours and those in memory) at `index`, to test what wraps. */
void vring_seek(struct vring *ring, uint16_t index);

/* As the driver would write it to the device's registers. */
struct virtq_config vring_config(const struct vring *ring);

/* Writes a descriptor of the table, or of an indirect table at `table`. */
void vring_set_desc(struct vring *ring, uint16_t index, struct vring_desc desc);
void vring_set_indirect(struct vring *ring, gpa_t table, uint16_t index, struct vring_desc desc);

/* Enters a head into the available ring, without showing it, and shows all entered so far. */
void vring_enter(struct vring *ring, uint16_t head);
void vring_show(struct vring *ring);
void vring_offer(struct vring *ring, uint16_t head); /* both */
void vring_set_avail_idx(struct vring *ring, uint16_t index);

/* Takes the next entry of the used ring; false if there is none. */
bool vring_take_used(struct vring *ring, struct vring_used *used);
uint16_t vring_used_idx(const struct vring *ring); /* as the device shows it */

/* The driver's wishes: a flag, and the entry of which it wants to hear. */
void vring_set_no_interrupt(struct vring *ring, bool is_silent);
void vring_set_used_event(struct vring *ring, uint16_t index);

/* The device's wishes. */
bool vring_is_no_notify(const struct vring *ring);
uint16_t vring_avail_event(const struct vring *ring);

#endif
