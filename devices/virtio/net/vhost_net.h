/* SPDX-License-Identifier: Apache-2.0 */
/* The network device whose queues another process serves, by vhost-user. */
#ifndef DEVICES_VIRTIO_VHOST_NET_H
#define DEVICES_VIRTIO_VHOST_NET_H

#include "devices/virtio/net/net.h"
#include "devices/virtio/vhost/vhost_user.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

extern const struct metric_group vhost_net_metric_group; /* "vhost_user_net" */
extern const struct virtio_class vhost_net_class;

/*
 * Connects to the back-end of an interface (NET_BACKEND_VHOST_USER) and learns what it has; waits
 * as vhost_link_open does. VMM thread, like all below.
 */
MUST_CHECK int vhost_net_open(const struct net_config *config, struct vhost_link *link,
			      struct error *err);

/*
 * Takes the link; one that is not connected is opened. MAC address, MTU and the state of the link
 * are told by squib, offloads are those that the back-end offers. *out is what is attached, and
 * frees all.
 */
MUST_CHECK int vhost_net_new(const struct dev_env *env, const struct net_config *config,
			     struct vhost_link *link, struct virtio_dev **out, struct error *err);

#endif
