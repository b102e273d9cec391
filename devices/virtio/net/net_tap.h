/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of the network device; internal to devices/virtio/net/ and their tests. */
#ifndef DEVICES_VIRTIO_NET_TAP_H
#define DEVICES_VIRTIO_NET_TAP_H

#include <stdint.h>

#include "devices/virtio/net/net.h"
#include "devices/virtio/net/net_port.h"
#include "vmm/base/error.h"

/* TUN_F_*, of which kernel headers before 6.2 lack the last two. */
enum {
	NET_OFFLOAD_CSUM = 0x01,
	NET_OFFLOAD_TSO4 = 0x02,
	NET_OFFLOAD_TSO6 = 0x04,
	NET_OFFLOAD_UFO = 0x10,
	NET_OFFLOAD_USO4 = 0x20,
	NET_OFFLOAD_USO6 = 0x40,
	NET_OFFLOAD_USO = NET_OFFLOAD_USO4 | NET_OFFLOAD_USO6, /* Linux knows only both or none */
};

/* What a TAP can do that a socket can't, so that in tests a socket may stand for one. */
struct net_tap_ops {
	/* The NET_OFFLOAD_* that the host knows. None is in force afterwards. */
	uint32_t (*probe_offloads)(int fd);
	/* From now on frames may come to us that need these to be finished. */
	int (*set_offloads)(int fd, uint32_t offloads, struct error *err);
};

extern const struct net_tap_ops net_tap_host;

extern const struct net_port_ops net_tap_port_ops;

#endif
