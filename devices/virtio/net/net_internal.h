/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the network device share: its state, its two directions, its port, its metadata
 * service.
 */
#ifndef DEVICES_VIRTIO_NET_INTERNAL_H
#define DEVICES_VIRTIO_NET_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "devices/virtio/core/virtq.h"
#include "devices/virtio/net/net.h"
#include "devices/virtio/net/net_port.h"
#include "devices/virtio/net/net_rx.h"
#include "devices/virtio/net/net_tap.h"
#include "vmm/base/evloop.h"
#include "vmm/base/limiter.h"
#include "vmm/base/log.h"

enum {
	RX,
	TX,
	QUEUES
};

/* The configuration [virtio-1.2 §5.1.4]; queue pairs are not offered and read 0. */
enum {
	CONFIG_MAC = 0,
	CONFIG_STATUS = 6, /* 0 and not offered unless the port can be lost */
	CONFIG_PAIRS = 8,
	CONFIG_MTU = 10,
	CONFIG_LEN = 12,
};

struct net_stream;

struct net {
	struct virtio_dev dev;

	/* immutable */
	const struct net_port_ops *port;
	struct net_tap tap;		     /* unless it has a stream */
	struct net_stream *stream;	     /* NULL: it is on a TAP */
	uint32_t offloads_known;	     /* NET_OFFLOAD_*, by the host */
	uint16_t mtu;			     /* 0: none */
	uint8_t configured_mac[NET_MAC_LEN]; /* zeroes: none */

	struct net_metrics metrics;  /* shared */
	struct log_limit failures;   /* of the port: shared */
	struct ev_source tap_source; /* of the VMM thread */
	struct limiter limiters[QUEUES];

	/* under dev.lock */
	bool has_mac;
	uint32_t offloads; /* in force */
	bool is_port_readable;
	bool is_port_full;	/* transmitting waits for it */
	unsigned read_failures; /* in a row */
	int write_failure;	/* why the last frame could not be written; 0: it could */

	struct net_rx rx;
	const uint8_t *rx_frame; /* the one that the port was found to have, in this step */
	uint32_t rx_frame_len;
	uint32_t rx_wanted;  /* bytes of buffers to collect before a read */
	uint32_t rx_least;   /* bytes that do if there are no more */
	bool is_rx_full;     /* no more of them can be had for this read */
	uint32_t rx_pending; /* bytes of a frame that is read and not delivered; 0: none */
	uint32_t rx_unpaid;  /* bytes of a frame that was delivered without being paid for */

	struct net_mmds *mmds; /* NULL: the interface has no metadata service */

	/* of the step under way */
	struct iovec tx_iov[VIRTQ_IOV_MAX];
};

static inline struct virtq *net_queue(struct net *net, unsigned index)
{
	return &net->dev.queues[index].vq;
}

/* --- net.c; VMM thread, under the lock --- */

/* A direction goes on: the port has a frame, or room. Fine without a driver. */
void net_receive_again(struct net *net);
void net_transmit_again(struct net *net);

void net_receive_more(struct net *net); /* a turn of the receive queue */

/* The link to what is behind the port is there, or not: the driver is told. */
void net_set_link(struct net *net, bool is_up);

/* --- net_receive.c; under the lock --- */

/* A driver starts; it takes frames that are spread over several buffers, or not. */
void net_receive_start(struct net *net, bool is_merged);
void net_receive_forget(struct net *net); /* frames and buffers */
void net_receive_quiesce(struct net *net);

/* As `next` and `take` of struct virtio_class, and for the chains of VIRTQ_BAD. */
enum virtio_step net_receive_next(struct net *net);
enum virtio_step net_receive_take(struct net *net, const struct virtq_chain *chain);
void net_receive_refuse(struct net *net);

/* --- net_transmit.c; under the lock --- */

enum virtio_step net_transmit_take(struct net *net, const struct virtq_chain *chain);

/* --- net_stream.c; VMM thread, without the lock --- */

extern const struct net_port_ops net_stream_port_ops;

/*
 * A back-end at the socket `path`. *connection is one to it, which is taken; -1: it is made. The
 * caller, net_new_stream, sets net->stream, starts it once the device is made, and frees it.
 */
MUST_CHECK int net_stream_new(struct net *net, const char *path, int *connection,
			      struct net_stream **out, struct error *err);
MUST_CHECK int net_stream_start(struct net_stream *stream, struct evloop *loop, struct error *err);
void net_stream_free(struct net_stream *stream); /* NULL is fine */

/* --- net_mmds.c; under the lock, and but for forget and free only where net->mmds is set --- */

/* Takes a frame that the guest sends to the service; false: it is not for the service. */
MUST_CHECK bool net_mmds_take(struct net *net, const struct virtq_chain *chain);

/* Whether the service has a frame for the guest; then the next chain is for net_mmds_deliver. */
MUST_CHECK bool net_mmds_has_frame(struct net *net);
enum virtio_step net_mmds_deliver(struct net *net, const struct virtq_chain *chain);

void net_mmds_end_turn(struct net *net); /* of either queue */
void net_mmds_forget(struct net *net);	 /* the frame that waits for a chain; any thread */
void net_mmds_free(struct net *net);	 /* VMM thread, without the lock */

#endif
