/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of the guest's that one call on a socket reads from or fills. VMM thread, device's lock.
 */
#ifndef DEVICES_VIRTIO_VSOCK_IO_H
#define DEVICES_VIRTIO_VSOCK_IO_H

#include <stdint.h>
#include <sys/uio.h>

#include "devices/virtio/core/virtq.h"
#include "vmm/base/gmem.h"

enum {
	VSOCK_BATCH = 16 /* chains that one read fills at most */
};

/* A chain behind the first. It has one segment, for a packet like the first but for its length. */
struct vsock_follower {
	uint16_t head;
	gpa_t gpa;
	uint32_t len; /* of the payload, in bytes */
};

/* One chain of a queue, those behind it, and room to describe parts of them to the kernel. */
struct vsock_io {
	struct gmem *mem;
	const struct virtq_chain *chain;
	struct virtq *rx;	  /* where a chain to fill is from */
	unsigned batch_max;	  /* chains that a read may fill, `chain` included */
	unsigned followers_count; /* filled and not pushed; who pushes them sets it to 0 */
	struct vsock_follower followers[VSOCK_BATCH - 1];
	struct virtq_chain next; /* scratch */
	struct iovec iov[VIRTQ_IOV_MAX];
};

/*
 * Takes chains of the queue behind io->chain until there are `batch` with it, or room for `room`
 * bytes of payload behind the first's, and adds that room to *iov. Returns its bytes. A chain of
 * another shape than one writable segment ends it and stays in the queue.
 */
uint32_t vsock_io_add_followers(struct vsock_io *io, struct virtq_iov *iov, uint32_t room,
				unsigned batch);

/*
 * Keeps the followers that the first `len` bytes of their payload reach, and has the last of them
 * end there. The others go back to the queue. `len` is at most what vsock_io_add_followers said.
 */
void vsock_io_trim_followers(struct vsock_io *io, uint32_t len);

#endif
