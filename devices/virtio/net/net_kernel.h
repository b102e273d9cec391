/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's kernel serves the queues of a network device on a TAP: its vhost-net [linux
 * drivers/vhost/net.c]. Internal to devices/virtio/net/, but for net_kernel_check.
 */
#ifndef DEVICES_VIRTIO_NET_KERNEL_H
#define DEVICES_VIRTIO_NET_KERNEL_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct net;
struct net_kernel;

/*
 * Whether the host has vhost-net, and this process may use it; the sentence says what to do. Leaves
 * nothing behind. VMM thread, without a filter, like net_kernel_new.
 */
MUST_CHECK int net_kernel_check(struct error *err);

/*
 * Has the kernel know the guest's memory, and takes the notifications of the device, which is made
 * and not attached. The guest's memory stays where it is, and the TAP open, until
 * net_kernel_free. ERR_HOST: the kernel lacks something that the driver is offered.
 */
MUST_CHECK int net_kernel_new(struct net *net, int tap, struct net_kernel **out, struct error *err);
void net_kernel_free(struct net_kernel *kernel); /* the kernel touches nothing more; NULL is fine */

/* --- Under the device's lock --- */

/* The driver is ready: the VMM thread hands the queues over. Any thread. */
void net_kernel_activate(struct net_kernel *kernel);

/* On return the kernel touches neither the queues nor the TAP any more. Any thread. */
void net_kernel_stop(struct net_kernel *kernel);

/*
 * A pause: the same, and the queues stand where the kernel has got to. Resuming hands them over
 * again. VMM thread.
 */
void net_kernel_quiesce(struct net_kernel *kernel);
void net_kernel_resume(struct net_kernel *kernel);

#endif
