/* SPDX-License-Identifier: Apache-2.0 */
/* The network device, on a TAP or a back-end of the host [virtio-1.2 §5.1]. */
#ifndef DEVICES_VIRTIO_NET_H
#define DEVICES_VIRTIO_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/mmds/netstack.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/limiter.h"
#include "vmm/base/metric.h"

enum {
	NET_MAC_LEN = 6,
	NET_MTU_MIN = 68,  /* the largest is 65535 */
	NET_PAIRS_MAX = 8, /* of queues; one thread serves them all */
	NET_NAME_LEN = 16, /* Linux's IFNAMSIZ */
};

enum net_backend_type {
	NET_BACKEND_STREAM,	/* frames behind their lengths, as of passt(1) */
	NET_BACKEND_VHOST_USER, /* the other process serves the queues: vhost_net.h */
};

struct net_backend {
	enum net_backend_type type;
	char *socket; /* the path of its Unix socket */
};

/* An interface as the API describes it. Strings are heap blocks of the configuration. */
struct net_config {
	char *iface_id;
	/* Of the TAP: its name, or "fd:N" for an open one that the process inherited. */
	char *host_dev_name; /* NULL: it has a back-end */
	struct net_backend backend;
	bool has_backend;
	char *guest_mac;     /* as text, lower case once validated; NULL: the guest chooses */
	uint16_t mtu;	     /* 0: not told to the guest */
	uint8_t queue_pairs; /* 1 to NET_PAIRS_MAX; 0: not given, 1 */
	bool vhost; /* the kernel serves the TAP's one pair, without limits: net_kernel.h */
	struct limiter_config rx_rate_limiter;
	bool has_rx_rate_limiter;
	struct limiter_config tx_rate_limiter;
	bool has_tx_rate_limiter;
};

/* Parses "aa:bb:cc:dd:ee:ff" in either case, and writes it back in lower case. */
MUST_CHECK int net_mac_parse(char *text, uint8_t mac[NET_MAC_LEN], struct error *err);

struct net_tap_ops;

/* A TAP, open once for each of its queues; zeroed: none. */
struct net_tap {
	unsigned count;		       /* of descriptors */
	char name[NET_NAME_LEN];       /* of the interface, ends with NUL */
	int fd[NET_PAIRS_MAX];	       /* non-blocking */
	const struct net_tap_ops *ops; /* what stands for the host in tests; NULL: the host */
};

/*
 * Opens (and creates where needed) the TAP `name` with `queues` queues, or duplicates the
 * descriptors of "fd:N" or "fd:N,M,...", one for each queue, which are not passed on any more; all
 * non-blocking, with virtio headers of 12 bytes. What is not a TAP is refused, and with one queue a
 * TAP that was made for several (IFF_MULTI_QUEUE), or the other way round. *tap is
 * net_tap_close's; N stays open, so that it can be named again.
 */
MUST_CHECK int net_tap_open(const char *name, unsigned queues, struct net_tap *tap,
			    struct error *err);

/*
 * The same by name alone, on a thread whose filter knows only what this takes, as that of a machine
 * that runs: descriptors are refused, and failures are told with less advice.
 */
MUST_CHECK int net_tap_open_running(const char *name, unsigned queues, struct net_tap *tap,
				    struct error *err);

void net_tap_close(struct net_tap *tap); /* and zeroes it; a zeroed one is fine */

/*
 * Whether both are the same TAP. One with a single queue has one open file; of those with several
 * the names are compared, which is no system call.
 */
bool net_tap_is_same(const struct net_tap *tap, const struct net_tap *other);

struct net_metrics {
	struct metric activate_fails;
	struct metric cfg_fails;
	struct metric no_rx_avail_buffer;
	struct metric no_tx_avail_buffer;
	struct metric event_fails;
	struct metric rx_queue_event_count;
	struct metric rx_event_rate_limiter_count;
	struct metric rx_rate_limiter_throttled;
	struct metric rx_tap_event_count;
	struct metric rx_bytes_count;
	struct metric rx_packets_count;
	struct metric rx_fails;
	struct metric rx_count;
	struct metric tap_read_fails;
	struct metric tap_write_fails;
	struct metric_latency tap_write_agg;
	struct metric tx_bytes_count;
	struct metric tx_malformed_frames;
	struct metric tx_fails;
	struct metric tx_count;
	struct metric tx_packets_count;
	struct metric tx_queue_event_count;
	struct metric tx_rate_limiter_event_count;
	struct metric tx_rate_limiter_throttled;
	struct metric tx_spoofed_mac_count;
	struct metric tx_remaining_reqs_count;
};

extern const struct metric_group net_metric_group; /* "net": the sum over all interfaces */

extern const struct virtio_class net_class;

struct net;

/* Reads *config; borrows the descriptors of *tap until net_free. VMM thread, like all below. */
MUST_CHECK int net_new(const struct dev_env *env, const struct net_config *config,
		       const struct net_tap *tap, struct net **out, struct error *err);
/*
 * The same on the back-end of *config, of NET_BACKEND_STREAM. *connection (unix_connect) is taken;
 * -1: one is made. A back-end that goes is looked for again; meanwhile the link is down.
 */
MUST_CHECK int net_new_stream(const struct dev_env *env, const struct net_config *config,
			      int *connection, struct net **out, struct error *err);
void net_free(struct net *net); /* NULL is fine */

/*
 * Gives the guest a metadata service on this interface, before the device is attached. Frames for
 * its address never reach the port. Its answers need no link that is up, and no rate limit holds
 * them back. After a failure the caller frees the device.
 */
MUST_CHECK int net_set_mmds(struct net *net, const struct mmds_stack_params *params,
			    struct error *err);

struct virtio_dev *net_virtio(struct net *net);
struct net_metrics *net_metrics(struct net *net);

/* NULL: unchanged. */
MUST_CHECK int net_set_limits(struct net *net, const struct limiter_config *rx,
			      const struct limiter_config *tx, struct error *err);

#endif
