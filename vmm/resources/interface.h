/* SPDX-License-Identifier: Apache-2.0 */
/* A network interface, with what it uses of the host. */
#ifndef VMM_RESOURCES_INTERFACE_H
#define VMM_RESOURCES_INTERFACE_H

#include "devices/virtio/net/net.h"
#include "devices/virtio/net/vhost_net.h"

/* On a TAP, or on another process (config.backend). */
struct net_interface {
	struct net_config config;
	struct net_tap tap;	/* none: it has a back-end */
	int connection;		/* to a stream's back-end, until the machine has it; -1: none */
	struct vhost_link link; /* to one of vhost-user, likewise */
	struct net *net;	/* the machine's; NULL: not attached, or of vhost-user */
};

/* clang-format off */
#define NET_INTERFACE_NONE {.connection = -1, .link = {.fd = -1}}
/* clang-format on */

/* Another process serves its queues, in shared memory. */
static inline bool net_interface_is_remote(const struct net_interface *interface)
{
	return interface->config.has_backend &&
	       interface->config.backend.type == NET_BACKEND_VHOST_USER;
}

#endif
