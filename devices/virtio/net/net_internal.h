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
#include "devices/virtio/net/net_pair.h"
#include "devices/virtio/net/net_port.h"
#include "devices/virtio/net/net_tap.h"
#include "vmm/base/evloop.h"
#include "vmm/base/limiter.h"
#include "vmm/base/log.h"

/* Features of a device with several pairs [virtio-1.2 §5.1.3]; the others are net.c's. */
enum {
	NET_F_CTRL_VQ = 17,
	NET_F_MQ = 22,
};

/* The configuration [virtio-1.2 §5.1.4]. */
enum {
	CONFIG_MAC = 0,
	CONFIG_STATUS = 6, /* 0 and not offered unless the port can be lost */
	CONFIG_PAIRS = 8,  /* 0 and not offered unless there are several */
	CONFIG_MTU = 10,
	CONFIG_LEN = 12,
};

struct net_stream;
struct net_kernel;

struct net {
	struct virtio_dev dev;

	/* immutable */
	const struct net_port_ops *port;
	unsigned pair_count;
	const struct net_tap_ops *tap_ops; /* unless it has a stream */
	struct net_stream *stream;	   /* NULL: it is on a TAP */
	struct net_kernel *kernel;	   /* which serves the queues; NULL: the VMM thread does */
	uint32_t offloads_known;	   /* NET_OFFLOAD_*, by the host */
	uint16_t mtu;			   /* 0: none */
	uint8_t configured_mac[NET_MAC_LEN]; /* zeroes: none */

	struct net_metrics metrics; /* shared */
	struct log_limit failures;  /* of the port: shared */
	struct limiter limiters[QUEUES];

	/* under dev.lock */
	bool has_mac;
	unsigned pairs_in_use; /* by the driver: the first ones */
	unsigned turns;	       /* of limiters that have expired */
	uint32_t offloads;     /* in force */
	int write_failure;     /* why the last frame could not be written; 0: it could */
	uint32_t rx_wanted;    /* bytes of buffers to collect before a read */
	uint32_t rx_least;     /* bytes that do if there are no more */
	uint32_t rx_unpaid;    /* bytes of frames that were delivered without being paid for */

	struct net_mmds *mmds; /* NULL: the interface has no metadata service */

	/* of the step under way */
	struct iovec tx_iov[VIRTQ_IOV_MAX];

	struct net_pair pairs[]; /* pair_count */
};

static inline struct virtq *net_queue(struct net *net, unsigned index)
{
	return &net->dev.queues[index].vq;
}

/* The index of a pair's queue RX or TX. */
static inline unsigned net_index(const struct net_pair *pair, unsigned queue)
{
	return (unsigned)(pair - pair->net->pairs) * QUEUES + queue;
}

static inline struct virtq *net_pair_queue(struct net_pair *pair, unsigned queue)
{
	return net_queue(pair->net, net_index(pair, queue));
}

/* --- net.c; VMM thread, under the lock --- */

/* A direction goes on: the port has a frame, or room. Fine without a driver. */
void net_receive_again(struct net_pair *pair);
void net_transmit_again(struct net_pair *pair);

void net_receive_more(struct net_pair *pair); /* a turn of the receive queue */

/* The link to what is behind the port is there, or not: the driver is told. */
void net_set_link(struct net *net, bool is_up);

/*
 * From now on the driver uses this many pairs, which read the TAP's other queues as well. None
 * holds a buffer or waits; the caller has their queues served.
 */
void net_use_pairs(struct net *net, unsigned count);

/* --- net_control.c; VMM thread, under the lock --- */

/* Whether it is the control queue; where that is depends on the driver's features. */
bool net_control_is_queue(const struct net *net, unsigned index);

/* As `take` of struct virtio_class. */
enum virtio_step net_control_take(struct net *net, unsigned index, const struct virtq_chain *chain);

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
