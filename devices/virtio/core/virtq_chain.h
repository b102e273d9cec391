/* SPDX-License-Identifier: Apache-2.0 */
/* One descriptor chain, and its bytes as if its segments were one [virtio-1.2 §2.7]. Pure. */
#ifndef DEVICES_VIRTIO_VIRTQ_CHAIN_H
#define DEVICES_VIRTIO_VIRTQ_CHAIN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/base/attr.h"
#include "vmm/base/gmem.h"

enum {
	VIRTQ_CHAIN_MAX = 256, /* segments of one chain, indirect ones too */
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
	size_t first; /* of those that may grow; what is before it stays as it is */
};

/*
 * Adds a part of a chain to *iov as iovecs, for system calls only; neighbours in memory become one.
 * -1 if the span is not within its side or there is no room; then *iov is as before.
 */
MUST_CHECK int virtq_chain_iov(struct gmem *mem, const struct virtq_chain *chain,
			       struct virtq_span span, struct virtq_iov *iov);

#endif
