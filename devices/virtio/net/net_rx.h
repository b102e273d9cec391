/* SPDX-License-Identifier: Apache-2.0 */
/* The receive buffers that a network device holds; internal to devices/virtio/net/. */
#ifndef DEVICES_VIRTIO_NET_RX_H
#define DEVICES_VIRTIO_NET_RX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "devices/virtio/core/virtq.h"
#include "vmm/base/gmem.h"

enum {
	NET_HEADER_LEN = 12,   /* struct virtio_net_hdr, in either direction [virtio-1.2 §5.1.6] */
	NET_FRAME_MAX = 65562, /* with the header [virtio-1.2 §5.1.6.3.1] */
	NET_IOV_MAX = 1024,    /* of one readv: the kernel's UIO_MAXIOV */
};

/* A chain that was popped and has no frame yet. */
struct net_rx_chain {
	uint16_t head;
	uint32_t len; /* bytes of memory */
	/* Where the header's num_buffers is: its two bytes may be in different segments. */
	gpa_t num_buffers[2];
};

/* Zeroed: empty. The members are net_rx.c's. About 20 KiB. */
struct net_rx {
	struct net_rx_chain chains[VIRTQ_SIZE_MAX]; /* a ring */
	unsigned first;
	unsigned count;
	uint64_t len; /* of all chains */
	struct iovec iov[NET_IOV_MAX];
	size_t iov_first; /* the memory of all chains in turn, `len` bytes of it */
	size_t iov_end;
	uint8_t surplus; /* takes what is beyond the buffers */
};

/* Forgets all buffers. Afterwards nothing here refers to guest memory. */
void net_rx_clear(struct net_rx *rx);

/*
 * Gives all chains back: unused to the driver, or to their queue, which they are taken from again.
 * The latter only if no other chain was taken since the first of them.
 */
void net_rx_return(struct net_rx *rx, struct virtq *vq);
void net_rx_rewind(struct net_rx *rx, struct virtq *vq);

/* Adds a chain behind the others. False if there is no room: then it fits once some have gone. */
MUST_CHECK bool net_rx_add(struct net_rx *rx, struct gmem *mem, const struct virtq_chain *chain);

/*
 * The iovecs to read the next frame into: those of all chains, and one more for a byte that does
 * not fit. For one readv before the next call of any of these.
 */
const struct iovec *net_rx_iov(struct net_rx *rx, size_t *count);

/*
 * Gives the guest the frame that was read, of at least NET_HEADER_LEN and at most rx->len bytes:
 * completes its header and enters its chains into the used ring.
 */
void net_rx_deliver(struct net_rx *rx, struct gmem *mem, struct virtq *vq, uint32_t len);

#endif
