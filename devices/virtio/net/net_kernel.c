/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device whose queues the host's kernel serves.
 *
 * Theory of operation. KVM signals a queue's kick eventfd, for which a thread of the kernel waits;
 * it moves frames between the guest's buffers and the TAP, and signals an eventfd that interrupts
 * the guest (virtio_call.h). No frame is seen here. What else a network device is stays net.c's:
 * features, offloads of the TAP, configuration, what a snapshot has.
 *
 * The kernel gets the guest's memory as a table of addresses in this process, once. It checks each
 * address of a descriptor against that table, and copies as this process would. A buffer in memory
 * without permissions, as that which is not plugged in, gets no frame and sends none, and the
 * kernel comes back to it: that queue stands still until a reset. Where the rings are, virtq_start
 * has checked; they lie in guest memory, which stays mapped while a queue is started.
 *
 * A driver that starts the device only wakes the VMM thread, which hands the queues over; that
 * thread alone is in need of the calls for it. Taking them back is one call for each queue, which
 * a driver's reset on its vCPU makes, too. It returns when the kernel's thread is done with what it
 * does at the moment, some packets at most. While the machine is paused the queues are taken back,
 * and nothing hands them over: the waker stands still with the guest.
 *
 * What the kernel finds wrong with a queue (indexes that are nonsense, addresses outside the
 * memory) it signals, and stops serving until the next kick. The device then needs a reset.
 */
#include "devices/virtio/net/net_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "devices/virtio/core/virtio_call.h"
#include "devices/virtio/core/virtio_remote.h"
#include "devices/virtio/net/net_internal.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_vhost.h"

static const char device[] = "/dev/vhost-net";

/* Bits of features that the kernel has to know if the driver accepts them. */
#define RING_FEATURES                                                                              \
	(UINT64_C(1) << 15 /* MRG_RXBUF */ | UINT64_C(1) << 28 /* INDIRECT_DESC */ |               \
	 UINT64_C(1) << 29 /* EVENT_IDX */ | UINT64_C(1) << 32 /* VERSION_1 */)

struct net_kernel {
	/* immutable */
	struct net *net;
	int tap;
	int fd; /* of /dev/vhost-net; -1: none */
	/* under the device's lock */
	bool is_running; /* the kernel has the queues */
	/* VMM thread */
	struct virtio_call calls[QUEUES];
	struct ev_source failed; /* its fd is an eventfd */
	struct ev_wake wake;
};

/* --- Handing the queues over --- */

static int tell(const struct net_kernel *kernel, unsigned long request, void *arg, const char *what,
		struct error *err)
{
	return ioctl(kernel->fd, request, arg) < 0
		       ? error_sys(err, "The kernel's vhost-net refuses %s", what)
		       : 0;
}

static struct virtq *queue_of(const struct net_kernel *kernel, unsigned index)
{
	return &kernel->net->dev.queues[index].vq;
}

static int hand_over(const struct net_kernel *kernel, unsigned index, struct error *err)
{
	const struct virtq *vq = queue_of(kernel, index);
	struct vhost_vring_state size = {.index = index, .num = vq->size};
	struct vhost_vring_state base = {.index = index, .num = vq->next_avail};
	struct vhost_vring_file call = {.index = index,
					.fd = virtio_call_fd(&kernel->calls[index])};
	struct vhost_vring_file tap = {.index = index, .fd = kernel->tap};
	/* Addresses for the kernel alone; nothing is dereferenced by them. */
	struct vhost_vring_addr rings = {
		.index = index,
		.desc_user_addr = (uintptr_t)vq->desc,
		.avail_user_addr = (uintptr_t)vq->avail,
		.used_user_addr = (uintptr_t)vq->used,
	};

	return tell(kernel, VHOST_SET_VRING_NUM, &size, "the size of a queue", err) < 0 ||
			       tell(kernel, VHOST_SET_VRING_BASE, &base, "the state of a queue",
				    err) < 0 ||
			       tell(kernel, VHOST_SET_VRING_ADDR, &rings, "the rings of a queue",
				    err) < 0 ||
			       tell(kernel, VHOST_SET_VRING_CALL, &call, "an interrupt", err) < 0 ||
			       tell(kernel, VHOST_NET_SET_BACKEND, &tap, "the TAP", err) < 0
		       ? -1
		       : 0;
}

static int hand_over_all(const struct net_kernel *kernel, struct error *err)
{
	uint64_t features = kernel->net->dev.acked & RING_FEATURES;

	if (tell(kernel, VHOST_SET_FEATURES, &features, "the driver's features", err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		if (queue_of(kernel, i)->size != 0 && hand_over(kernel, i, err) < 0) {
			return -1;
		}
		/* A notification that came before is not lost. */
		virtio_kick(&kernel->net->dev, i);
	}
	return 0;
}

void net_kernel_stop(struct net_kernel *kernel)
{
	for (unsigned i = 0; kernel->is_running && i < QUEUES; i++) {
		struct vhost_vring_file none = {.index = i, .fd = -1};

		(void)ioctl(kernel->fd, VHOST_NET_SET_BACKEND, &none); /* can't fail */
	}
	kernel->is_running = false;
}

/* The device can't go on, for what the host or the guest has done. */
static const char wrong[] =
	"its rings or buffers are wrong, or not in the guest's memory, or its TAP "
	"was deleted";

static void give_up(struct net_kernel *kernel, const char *why)
{
	struct virtio_dev *dev = &kernel->net->dev;

	net_kernel_stop(kernel);
	log_guest_warn("Interface %s can't be used until its driver resets it: %s", dev->id, why);
	virtio_need_reset(dev);
}

/* Takes the signal: a thaw of the loop finds what is still there. */
static bool has_failed(const struct net_kernel *kernel)
{
	eventfd_t count;

	return eventfd_read(kernel->failed.fd, &count) == 0;
}

static void start(struct net_kernel *kernel)
{
	struct virtio_dev *dev = &kernel->net->dev;
	struct error err = {0};

	if (kernel->is_running || !virtio_works(dev)) {
		return;
	}
	(void)has_failed(kernel); /* what an earlier driver has done is over */
	kernel->is_running = true;
	if (hand_over_all(kernel, &err) < 0) {
		metric_add(&kernel->net->metrics.activate_fails, 1);
		give_up(kernel, err.msg);
	}
}

void net_kernel_activate(struct net_kernel *kernel)
{
	ev_wake_signal(&kernel->wake);
}

void net_kernel_quiesce(struct net_kernel *kernel)
{
	if (!kernel->is_running) {
		return;
	}
	net_kernel_stop(kernel);
	/* The loop may be frozen by now: a state without this would lose what the kernel had taken.
	 */
	if (has_failed(kernel)) {
		give_up(kernel, wrong);
		return;
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		struct vhost_vring_state base = {.index = i};

		if (queue_of(kernel, i)->size != 0 &&
		    ioctl(kernel->fd, VHOST_GET_VRING_BASE, &base) == 0) {
			virtq_seek(queue_of(kernel, i), (uint16_t)base.num);
		}
	}
}

void net_kernel_resume(struct net_kernel *kernel)
{
	struct virtio_dev *dev = &kernel->net->dev;

	start(kernel);
	/* The last interrupt before the pause may be lost, if the machine was saved meanwhile. */
	for (unsigned i = 0; virtio_works(dev) && i < QUEUES; i++) {
		virtio_interrupt(dev, VIRTIO_CAUSE_USED, i);
	}
}

/* --- Events --- */

static void on_wake(struct ev_wake *wake)
{
	struct net_kernel *kernel = container_of(wake, struct net_kernel, wake);

	virtio_lock(&kernel->net->dev);
	start(kernel);
	virtio_unlock(&kernel->net->dev);
}

static void on_failed(struct ev_source *source, uint32_t ready)
{
	struct net_kernel *kernel = container_of(source, struct net_kernel, failed);

	(void)ready;
	virtio_lock(&kernel->net->dev);
	if (has_failed(kernel) && kernel->is_running) {
		give_up(kernel, wrong);
	}
	virtio_unlock(&kernel->net->dev);
}

/* --- Making --- */

static int open_device(struct error *err)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		return fd;
	}
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
		return error_sys(err,
				 "The host has no %s for `vhost`: load the module vhost_net "
				 "(modprobe vhost_net), have the file in the jail if there is one, "
				 "or leave `vhost` out",
				 device);
	}
	return error_sys(err, "Cannot open %s for `vhost`: let squib's user read and write it",
			 device);
}

int net_kernel_check(struct error *err)
{
	AUTO_FD fd = open_device(err);

	return fd < 0 ? -1 : 0;
}

static int check_features(const struct net_kernel *kernel, struct error *err)
{
	uint64_t features = 0;

	if (tell(kernel, VHOST_GET_FEATURES, &features, "to tell its features", err) < 0) {
		return -1;
	}
	return (features & RING_FEATURES) == RING_FEATURES
		       ? 0
		       : error_set(err, ERR_HOST,
				   "The kernel's vhost-net lacks features %#llx of virtio: leave "
				   "`vhost` out",
				   (unsigned long long)(RING_FEATURES & ~features));
}

/* The kick is the kernel's from now on, and what it finds wrong ours. */
static int set_events(struct net_kernel *kernel, unsigned index, struct error *err)
{
	struct virtio_dev *dev = &kernel->net->dev;
	struct vhost_vring_file kick = {.index = index, .fd = dev->queues[index].kick.fd};
	struct vhost_vring_file failed = {.index = index, .fd = kernel->failed.fd};

	ev_del(dev->loop, &dev->queues[index].kick);
	return tell(kernel, VHOST_SET_VRING_KICK, &kick, "a notification", err) < 0 ||
			       tell(kernel, VHOST_SET_VRING_ERR, &failed, "an eventfd", err) < 0 ||
			       virtio_call_init(&kernel->calls[index], dev, index, err) < 0
		       ? -1
		       : 0;
}

static int make_events(struct net_kernel *kernel, struct error *err)
{
	struct evloop *loop = kernel->net->dev.loop;

	kernel->failed.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kernel->failed.fd < 0) {
		return error_sys(err, "Cannot make an eventfd for the kernel's vhost-net");
	}
	return ev_add(loop, &kernel->failed, EPOLLIN | EPOLLET, err) < 0 ||
			       ev_wake_init(&kernel->wake, loop, err) < 0
		       ? -1
		       : 0;
}

static int build(struct net_kernel *kernel, struct error *err)
{
	kernel->fd = open_device(err);
	if (kernel->fd < 0 || check_features(kernel, err) < 0 ||
	    tell(kernel, VHOST_SET_OWNER, NULL, "this process", err) < 0 ||
	    gmem_vhost_tell(kernel->net->dev.mem, kernel->fd, err) < 0 ||
	    make_events(kernel, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		if (set_events(kernel, i, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int net_kernel_new(struct net *net, int tap, struct net_kernel **out, struct error *err)
{
	struct net_kernel *kernel = calloc(1, sizeof(*kernel));

	if (kernel == NULL) {
		return error_sys(err, "Cannot allocate what the kernel's vhost-net takes");
	}
	kernel->net = net;
	kernel->tap = tap;
	kernel->fd = -1;
	kernel->failed =
		(struct ev_source){.fd = -1, .fn = on_failed, .is_frozen_with_guest = true};
	kernel->wake = (struct ev_wake){.fn = on_wake, .is_frozen_with_guest = true};
	if (build(kernel, err) < 0) {
		net_kernel_free(kernel);
		return -1;
	}
	*out = kernel;
	return 0;
}

void net_kernel_free(struct net_kernel *kernel)
{
	if (kernel == NULL) {
		return;
	}
	fd_close(&kernel->fd);
	ev_wake_destroy(&kernel->wake);
	ev_del(kernel->net->dev.loop, &kernel->failed);
	fd_close(&kernel->failed.fd);
	for (unsigned i = 0; i < QUEUES; i++) {
		virtio_call_destroy(&kernel->calls[i]);
	}
	free(kernel);
}
