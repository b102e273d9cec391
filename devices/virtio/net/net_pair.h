/* SPDX-License-Identifier: Apache-2.0 */
/* A queue pair of the network device, and its two directions; internal to devices/virtio/net/. */
#ifndef DEVICES_VIRTIO_NET_PAIR_H
#define DEVICES_VIRTIO_NET_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/core/virtio_class.h"
#include "devices/virtio/net/net_rx.h"
#include "vmm/base/evloop.h"

enum {
	RX,
	TX,
	QUEUES
};

struct net;

/* A queue to the guest and one from it, with what the port has for them. */
struct net_pair {
	/* immutable */
	struct net *net;
	struct ev_source tap_source; /* of the VMM thread; fd: of the TAP, non-blocking */

	/* under dev.lock */
	bool is_port_readable;	/* its port's queue is; another pair may be the one that reads it */
	unsigned from;		/* the pair whose port this one reads next */
	bool is_port_full;	/* transmitting waits for it */
	unsigned read_failures; /* in a row */

	struct net_rx rx;
	const uint8_t *rx_frame; /* the one that the port was found to have, in this step */
	uint32_t rx_frame_len;
	bool is_rx_full;     /* no more buffers can be had for this read */
	uint32_t rx_pending; /* bytes of a frame that is read and not delivered; 0: none */
};

/* --- net_receive.c; under the lock --- */

/* A driver starts; it takes frames that are spread over several buffers, or not. */
void net_receive_start(struct net *net, bool is_merged);
void net_receive_forget(struct net_pair *pair); /* frames and buffers */
void net_receive_quiesce(struct net_pair *pair);

/* As `next` and `take` of struct virtio_class, and for the chains of VIRTQ_BAD. */
enum virtio_step net_receive_next(struct net_pair *pair);
enum virtio_step net_receive_take(struct net_pair *pair, const struct virtq_chain *chain);
void net_receive_refuse(struct net_pair *pair);

/* --- net_transmit.c; under the lock --- */

enum virtio_step net_transmit_take(struct net_pair *pair, const struct virtq_chain *chain);

#endif
