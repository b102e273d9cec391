/* SPDX-License-Identifier: Apache-2.0 */
/* An eventfd that interrupts the guest. */
#include "devices/virtio/core/virtio_call.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "devices/virtio/core/virtio_remote.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* Queues were served, on a transport that can't hand its interrupt over. */
static void on_call(struct ev_source *source, uint32_t ready)
{
	const struct virtio_call *call = container_of(source, struct virtio_call, source);
	struct virtio_dev *dev = call->dev;

	(void)ready;
	virtio_lock(dev);
	if (virtio_works(dev)) {
		virtio_interrupt(dev, VIRTIO_CAUSE_USED, call->queue);
	}
	virtio_unlock(dev);
}

int virtio_call_init(struct virtio_call *call, struct virtio_dev *dev, unsigned queue,
		     struct error *err)
{
	*call = (struct virtio_call){
		.is_made = true,
		.dev = dev,
		.queue = queue,
		.source =
			{
				.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				.fn = on_call,
				.is_frozen_with_guest = true,
			},
	};
	return call->source.fd < 0
		       ? error_sys(err, "Cannot make an eventfd for interrupts of %s", dev->id)
		       : ev_add(dev->loop, &call->source, EPOLLIN | EPOLLET, err);
}

void virtio_call_destroy(struct virtio_call *call)
{
	if (call->is_made) {
		ev_del(call->dev->loop, &call->source);
		fd_close(&call->source.fd);
		call->is_made = false;
	}
}

int virtio_call_fd(const struct virtio_call *call)
{
	const struct virtio_transport *transport = &call->dev->transport;

	return transport->call_fd != NULL ? transport->call_fd(transport->arg, call->queue)
					  : call->source.fd;
}
