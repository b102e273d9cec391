/* SPDX-License-Identifier: Apache-2.0 */
/* One split virtqueue as its device sees it [virtio-1.2 §2.7]. Pure; the device's lock covers it.
 */
#ifndef DEVICES_VIRTIO_VIRTQ_H
#define DEVICES_VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

enum {
	VIRTQ_SIZE_MAX = 256,
	VIRTQ_CHAIN_MAX = VIRTQ_SIZE_MAX, /* segments of one chain, indirect ones too */
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
	/* Ours: never read back from the guest's memory. */
	uint16_t next_avail; /* the next entry of the available ring to take */
	uint16_t next_used;  /* the next of the used ring to fill */
	uint16_t published;  /* used.idx as the guest sees it */
	/* The rings, mapped by gmem_ring_map; for virtq.c's atomic accessors alone. */
	const void *desc;
	void *avail;
	void *used;
};

struct virtq_seg {
	gpa_t gpa;
	uint32_t len; /* bytes, not 0 */
};

/*
 * One descriptor chain, copied once and checked on the copy: every segment is RAM, readable ones
 * come before writable ones, the sums fit. About 4 KiB: a member of its device, never on a stack
 * that is small.
 */
struct virtq_chain {
	uint16_t head;
	uint16_t count;	   /* of segments */
	uint16_t readable; /* the first of them, which the device reads; the others it writes */
	uint32_t read_len; /* bytes in all readable segments */
	uint32_t write_len;
	struct virtq_seg segs[VIRTQ_CHAIN_MAX];
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

/* Takes the next chain. A queue that is stopped is empty. */
MUST_CHECK enum virtq_result virtq_pop(struct virtq *vq, struct virtq_chain *chain);

/* How many chains wait to be taken; a broken index counts as 0, and pop tells. */
uint16_t virtq_pending(struct virtq *vq);

/* Puts back the chain taken last, which must be the latest and not pushed. */
void virtq_undo_pop(struct virtq *vq);

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

/* Says that notifications are not needed until virtq_arm_kick: a hint. */
void virtq_disarm_kick(struct virtq *vq);

/*
 * Copies between a buffer of ours and the readable (or writable) bytes of a chain from `offset`
 * on, as if its segments were one. -1 if the range is not within them; then nothing was copied.
 */
MUST_CHECK int virtq_chain_read(const struct gmem *mem, const struct virtq_chain *chain,
				uint32_t offset, void *buf, size_t len);
MUST_CHECK int virtq_chain_write(struct gmem *mem, const struct virtq_chain *chain, uint32_t offset,
				 const void *buf, size_t len);

enum virtq_side {
	VIRTQ_READABLE,
	VIRTQ_WRITABLE
};

/* A part of one side of a chain. */
struct virtq_span {
	enum virtq_side side;
	uint32_t offset;
	uint32_t len;
};

enum {
	/* Every segment may lie across one border of two regions that touch. */
	VIRTQ_IOV_MAX = 2 * VIRTQ_CHAIN_MAX
};

/* Where iovecs go. */
struct virtq_iov {
	struct iovec *iov;
	size_t cap;
	size_t count; /* filled so far */
};

/*
 * Adds a part of a chain to *iov as iovecs, for system calls only; neighbours in memory become one.
 * -1 if the span is not within its side or there is no room; then *iov is as before.
 */
MUST_CHECK int virtq_chain_iov(struct gmem *mem, const struct virtq_chain *chain,
			       struct virtq_span span, struct virtq_iov *iov);

#endif
