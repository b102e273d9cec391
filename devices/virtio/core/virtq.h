/* SPDX-License-Identifier: Apache-2.0 */
/* One split virtqueue as its device sees it [virtio-1.2 §2.7]. Pure; the device's lock covers it.
 */
#ifndef DEVICES_VIRTIO_VIRTQ_H
#define DEVICES_VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/core/virtq_chain.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

enum {
	VIRTQ_SIZE_MAX = 256
};

/* What the driver set before it started the queue; checked by virtq_start, not before. */
struct virtq_config {
	uint16_t size; /* a power of two up to VIRTQ_SIZE_MAX */
	bool is_ready;
	gpa_t desc; /* aligned to 16, 2 and 4 bytes */
	gpa_t avail;
	gpa_t used;
};

/* Zeroed: stopped. The members are virtq.c's. */
struct virtq {
	struct gmem *mem;
	uint16_t size; /* 0: stopped */
	bool has_event_idx;
	bool has_indirect;
	/* Where the driver has put the rings. */
	gpa_t desc_gpa;
	gpa_t avail_gpa;
	gpa_t used_gpa;
	/* Ours: never read back from the guest's memory. */
	uint16_t next_avail; /* the next entry of the available ring to take */
	uint16_t next_used;  /* the next of the used ring to fill */
	uint16_t published;  /* used.idx as the guest sees it */
	/* The rings, mapped by gmem_ring_map; for virtq.c's atomic accessors alone. */
	const void *desc;
	void *avail;
	void *used;
	struct gmem_marks used_marks; /* the only ring that we write to */
};

/* All of a started queue that is not in guest memory, in plain numbers: for a snapshot. */
struct virtq_state {
	uint16_t size;
	bool has_event_idx;
	bool has_indirect;
	gpa_t desc;
	gpa_t avail;
	gpa_t used;
	uint16_t next_avail;
	uint16_t next_used;
};

enum virtq_result {
	VIRTQ_EMPTY,
	VIRTQ_OK,
	VIRTQ_BAD,    /* this chain is unusable; give its head back with virtq_push(.., 0) */
	VIRTQ_BROKEN, /* the ring itself is: nothing was taken, the device needs a reset */
};

/*
 * Checks sizes, alignment and that all three rings are RAM, each within one region, and starts
 * with empty indexes. `mem` outlives the started queue. ERR_GUEST names what is wrong.
 */
MUST_CHECK int virtq_start(struct virtq *vq, const struct virtq_config *config, struct gmem *mem,
			   uint64_t features, struct error *err);
void virtq_stop(struct virtq *vq); /* a stopped one is fine */

/*
 * The state of a started queue, in which all that was pushed is published. Chains that are popped
 * and not pushed are a difference of its indexes: whoever holds them saves them, or rewinds first.
 */
void virtq_save(const struct virtq *vq, struct virtq_state *state);

/*
 * Starts a queue where virtq_save found it, in memory of the same contents. Nothing of *state is
 * trusted: the checks of virtq_start, and ERR_CORRUPT for indexes that no queue of this size has.
 * The caller kicks the queue: what the driver offered before the save, it may not notify of again.
 */
MUST_CHECK int virtq_restore(struct virtq *vq, const struct virtq_state *state, struct gmem *mem,
			     struct error *err);

/* Both indexes of a started queue of another process, where that one has stopped it. */
void virtq_seek(struct virtq *vq, uint16_t index);

/* Takes the next chain. A queue that is stopped is empty. */
MUST_CHECK enum virtq_result virtq_pop(struct virtq *vq, struct virtq_chain *chain);

/* How many chains wait to be taken; a broken index counts as 0, and pop tells. */
uint16_t virtq_pending(struct virtq *vq);

/* How many chains are taken and not pushed. */
uint16_t virtq_held(const struct virtq *vq);

/*
 * Puts back the `count` chains that were taken last, none of which is pushed; they are taken again
 * in the same order. A stopped queue takes nothing back.
 */
void virtq_rewind(struct virtq *vq, uint16_t count);

/* Enters a chain, whose first `written` bytes we wrote, into the used ring; see virtq_publish. */
void virtq_push(struct virtq *vq, uint16_t head, uint32_t written);

/*
 * Shows the guest all that was pushed; true if it wants an interrupt for that [virtio-1.2
 * §2.7.7.2]. Once per batch.
 */
MUST_CHECK bool virtq_publish(struct virtq *vq);

/*
 * Asks for a notification of the next available chain. True if one is there already, which the
 * guest may not notify of: take it and arm again. Without a call no notification is promised.
 */
MUST_CHECK bool virtq_arm_kick(struct virtq *vq);

/*
 * The same for entry number `index` of the available ring, which lies at or behind the next one to
 * take: for a device that leaves entries where they are. True if that one is there.
 */
MUST_CHECK bool virtq_arm_kick_at(struct virtq *vq, uint16_t index);

/* Says that notifications are not needed until virtq_arm_kick: a hint. */
void virtq_disarm_kick(struct virtq *vq);

#endif
