/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device: streams between guest ports and Unix sockets of the host [virtio-1.2 §5.10].
 */
#ifndef DEVICES_VIRTIO_VSOCK_H
#define DEVICES_VIRTIO_VSOCK_H

#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

/* As the API describes it. Strings are heap blocks of the configuration. */
struct vsock_config {
	char *vsock_id; /* deprecated, never told again */
	uint32_t guest_cid;
	char *uds_path; /* hosts connect here; the guest's port P reaches <uds_path>_P */
};

/* Binds a listening Unix socket at `path`, non-blocking, which must not exist. */
MUST_CHECK int vsock_listen(const char *path, int *fd, struct error *err);

struct vsock_metrics {
	struct metric activate_fails;
	struct metric cfg_fails;
	struct metric rx_queue_event_fails;
	struct metric tx_queue_event_fails;
	struct metric ev_queue_event_fails;
	struct metric muxer_event_fails;
	struct metric conn_event_fails;
	struct metric rx_queue_event_count;
	struct metric tx_queue_event_count;
	struct metric rx_bytes_count;
	struct metric tx_bytes_count;
	struct metric rx_packets_count;
	struct metric tx_packets_count;
	struct metric conns_added;
	struct metric conns_killed;
	struct metric conns_removed;
	struct metric killq_resync;
	struct metric tx_flush_fails;
	struct metric tx_write_fails;
	struct metric rx_read_fails;
};

extern const struct metric_group vsock_metric_group;

extern const struct virtio_class vsock_class;

struct vsock;

/* Reads *config; borrows `listener` until vsock_free. VMM thread, like all below. */
MUST_CHECK int vsock_new(const struct dev_env *env, const struct vsock_config *config, int listener,
			 struct vsock **out, struct error *err);
void vsock_free(struct vsock *vsock); /* NULL is fine */

struct virtio_dev *vsock_virtio(struct vsock *vsock);
struct vsock_metrics *vsock_metrics(struct vsock *vsock);

#endif
