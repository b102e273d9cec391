/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the frames of a network device go to and come from: the TAP, or something before it, which
 * takes some of the guest's frames, has frames of its own, and passes the others on to the TAP's
 * port.
 */
#ifndef DEVICES_VIRTIO_NET_PORT_H
#define DEVICES_VIRTIO_NET_PORT_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * A frame has a header of NET_HEADER_LEN bytes before it. Its iovecs are guest memory, for system
 * calls only. Both functions are called under the device's lock, on the VMM thread, and never wait.
 */
struct net_port_ops {
	/*
	 * Sends a frame; -errno if it is lost. -EAGAIN: there is no room for it now, and the port
	 * calls net_transmit_again once there is.
	 */
	int (*send)(void *arg, const struct iovec *frame, size_t count);
	/*
	 * Reads the next frame and returns its length, or -errno. -EAGAIN: there is none, and the
	 * port calls net_receive_again once there is. What does not fit is cut off.
	 */
	ssize_t (*receive)(void *arg, const struct iovec *buffers, size_t count);
};

struct net_port {
	const struct net_port_ops *ops;
	void *arg;
};

#endif
