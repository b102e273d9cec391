/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the frames of a network device go to and come from: a TAP (net_tap.c), or another process
 * at the end of a byte stream (net_stream.c).
 */
#ifndef DEVICES_VIRTIO_NET_PORT_H
#define DEVICES_VIRTIO_NET_PORT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "devices/virtio/core/virtq_chain.h"

struct net;
struct net_pair;

/*
 * A frame has a header of NET_HEADER_LEN bytes before it. All functions are called under the
 * device's lock, on the VMM thread, and never wait.
 */
struct net_port_ops {
	const char *name; /* in messages */
	/*
	 * Sends the frame that is the readable side of a chain, NET_HEADER_LEN to NET_FRAME_MAX
	 * bytes; -errno if it is lost. -EAGAIN: there is no room for it now, and the port calls
	 * net_transmit_again once there is.
	 */
	int (*send)(struct net_pair *pair, const struct virtq_chain *chain);
	/*
	 * Of a port that has its frames in memory: the length of the next one, which stays at
	 * *frame until it is received; 0: none was found in this step, look again. -errno as of
	 * `receive`. The device copies it to the guest's buffers. NULL: only the read tells.
	 */
	ssize_t (*peek)(struct net_pair *pair, const uint8_t **frame);
	/*
	 * Reads the next frame into buffers of the guest, which are for system calls only, and
	 * returns its length, or -errno. -EAGAIN: there is none, and the port calls
	 * net_receive_again once there is. What does not fit is cut off. With `peek`: is done with
	 * the frame that was looked at, and ignores the buffers.
	 */
	ssize_t (*receive)(struct net_pair *pair, const struct iovec *buffers, size_t count);
	void (*end_turn)(struct net *net); /* of either queue; NULL: nothing to do */
	/* What a failure means, as far as it tells: the end of a sentence, or "". */
	const char *(*explain)(int sys);
};

#endif
