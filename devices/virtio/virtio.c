/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all virtio devices share.
 *
 * Theory of operation. A transport (mmio.c) takes the driver's register accesses and drives the
 * state of struct virtio_dev from outside; a device sits inside it and is called by way of struct
 * virtio_ops. Three ways lead to a device's queues: KVM signals the kick eventfd for the guest, the
 * transport does so where a notification reached us as an exit, and activation does so for every
 * queue, since the driver may have offered chains and notified before. All three end in on_kick on
 * the VMM thread, which is therefore the only one to pop.
 *
 * Kicks are edge-triggered, and their counters are never read: each write wakes the loop, whatever
 * the counter is [eventfd_signal in fs/eventfd.c], and one that comes while the queue is looked at
 * is an edge of its own. A thaw of the loop finds all counters that are not 0, so that each queue
 * that ever was in use is looked at once more, mostly in vain.
 *
 * A device that broke (a queue whose indexes are nonsense, an activation that failed) keeps
 * is_active as it was, so that the driver's reset still drains what is in flight. But its queues
 * are stopped, and a stopped queue is empty and takes nothing back.
 *
 * The interrupt status is set before the line fires, and the driver acknowledges what it has read
 * before it looks at the rings: an event is thus seen by the handler that runs, or fires again.
 */
#include "devices/virtio/virtio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "devices/virtio/virtio_internal.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

static const struct metric_field interrupt_fields[] = {
	{METRIC_COUNT(interrupt_metrics, triggers)},
	{METRIC_COUNT(interrupt_metrics, config_updates)},
};

const struct metric_group interrupt_metric_group = {METRIC_GROUP("interrupts", interrupt_fields)};

void virtio_lock(struct virtio_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
}

void virtio_unlock(struct virtio_dev *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

static bool is_broken(const struct virtio_dev *dev)
{
	return (dev->status & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

/* The handler of a kick eventfd. */
static void on_kick(struct ev_source *source, uint32_t ready)
{
	struct virtio_queue *queue = container_of(source, struct virtio_queue, kick);
	struct virtio_dev *dev = queue->dev;

	(void)ready;
	virtio_lock(dev);
	if (dev->is_active && !is_broken(dev)) {
		dev->ops->queue_ready(dev, (unsigned)(queue - dev->queues));
	}
	virtio_unlock(dev);
}

static void reset_config(struct virtio_queue *queue)
{
	virtq_stop(&queue->vq);
	queue->config = (struct virtq_config){.size = VIRTQ_SIZE_MAX};
}

static int add_queues(struct virtio_dev *dev, unsigned count, struct error *err)
{
	dev->queues = calloc(count, sizeof(*dev->queues));
	if (dev->queues == NULL) {
		return error_sys(err, "Cannot allocate the queues of %s", dev->ops->name);
	}
	dev->queue_count = count;
	for (unsigned i = 0; i < count; i++) {
		dev->queues[i].kick.fd = -1;
	}
	for (unsigned i = 0; i < count; i++) {
		struct virtio_queue *queue = &dev->queues[i];

		queue->dev = dev;
		reset_config(queue);
		queue->kick = (struct ev_source){
			.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
			.fn = on_kick,
			.is_frozen_with_guest = true,
		};
		if (queue->kick.fd < 0) {
			return error_sys(err, "Cannot create an eventfd for %s", dev->ops->name);
		}
		if (ev_add(dev->loop, &queue->kick, EPOLLIN | EPOLLET, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int virtio_init(struct virtio_dev *dev, const struct dev_env *env,
		const struct virtio_params *params, struct error *err)
{
	*dev = (struct virtio_dev){
		.ops = params->ops,
		.mem = env->mem,
		.loop = env->loop,
		.irq = env->irq,
		.clock = env->clock,
		.offered = params->features | VIRTIO_FEATURES_ALWAYS,
		.config_len = min_u64(params->config_len, VIRTIO_CONFIG_MAX),
		.activate_fails = params->activate_fails,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	snprintf(dev->id, sizeof(dev->id), "%s", params->id);
	if (add_queues(dev, (unsigned)min_u64(params->queue_count, VIRTIO_QUEUES_MAX), err) < 0) {
		virtio_destroy(dev);
		return -1;
	}
	return 0;
}

void virtio_destroy(struct virtio_dev *dev)
{
	if (dev->queues == NULL) {
		return;
	}
	virtio_lock(dev);
	virtio_reset(dev);
	virtio_unlock(dev);
	for (unsigned i = 0; i < dev->queue_count; i++) {
		ev_del(dev->loop, &dev->queues[i].kick);
		fd_close(&dev->queues[i].kick.fd);
	}
	free(dev->queues);
	dev->queues = NULL;
	dev->queue_count = 0;
	pthread_mutex_destroy(&dev->lock);
}

void virtio_kick(struct virtio_dev *dev, unsigned index)
{
	/* Fails only when the counter is full, and then it is not 0. */
	(void)eventfd_write(dev->queues[index].kick.fd, 1);
}

void virtio_requeue(struct virtio_dev *dev, unsigned index)
{
	virtio_kick(dev, index);
}

static void interrupt(struct virtio_dev *dev, uint32_t cause)
{
	atomic_fetch_or(&dev->interrupt_status, cause);
	irq_line_fire(&dev->irq);
	metric_add(&dev->interrupts.triggers, 1);
}

void virtio_publish(struct virtio_dev *dev, unsigned index)
{
	if (virtq_publish(&dev->queues[index].vq)) {
		interrupt(dev, VIRTIO_INT_USED);
	}
}

void virtio_config_changed(struct virtio_dev *dev)
{
	dev->config_generation++;
	/* Also before DRIVER_OK, as the driver may have read the old configuration by then. */
	if ((dev->status & VIRTIO_STATUS_DRIVER) != 0) {
		interrupt(dev, VIRTIO_INT_CONFIG);
	}
}

static void stop_queues(struct virtio_dev *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++) {
		virtq_stop(&dev->queues[i].vq);
	}
}

/* [virtio-1.2 §2.1.2]: the notification is only for drivers that have said DRIVER_OK. */
static void need_reset(struct virtio_dev *dev)
{
	stop_queues(dev);
	dev->status |= VIRTIO_STATUS_NEEDS_RESET;
	if ((dev->status & VIRTIO_STATUS_DRIVER_OK) != 0) {
		interrupt(dev, VIRTIO_INT_CONFIG);
	}
}

void virtio_break(struct virtio_dev *dev, unsigned index)
{
	if (!dev->is_active || is_broken(dev)) {
		return;
	}
	log_guest_warn("Queue %u of %s device %s has impossible indexes; the device waits for its "
		       "driver to reset it",
		       index, dev->ops->name, dev->id);
	need_reset(dev);
}

static int start_queues(struct virtio_dev *dev, struct error *err)
{
	for (unsigned i = 0; i < dev->queue_count; i++) {
		struct virtio_queue *queue = &dev->queues[i];

		/* A driver need not use all queues, e.g. if there are fewer vCPUs than queues. */
		if (queue->config.is_ready &&
		    virtq_start(&queue->vq, &queue->config, dev->mem, dev->acked, err) < 0) {
			return error_wrap(err, "queue %u", i);
		}
	}
	return 0;
}

void virtio_activate(struct virtio_dev *dev)
{
	struct error err = {0};

	if (start_queues(dev, &err) < 0 ||
	    (dev->ops->activate != NULL && dev->ops->activate(dev, &err) < 0)) {
		log_guest_warn("Cannot activate %s device %s: %s", dev->ops->name, dev->id,
			       err.msg);
		if (dev->activate_fails != NULL) {
			metric_add(dev->activate_fails, 1);
		}
		need_reset(dev);
		return;
	}
	dev->is_active = true;
	for (unsigned i = 0; i < dev->queue_count; i++) {
		virtio_kick(dev, i);
	}
}

void virtio_reset(struct virtio_dev *dev)
{
	if (dev->is_active && dev->ops->reset != NULL) {
		dev->ops->reset(dev);
	}
	dev->is_active = false;
	for (unsigned i = 0; i < dev->queue_count; i++) {
		reset_config(&dev->queues[i]);
	}
	dev->status = 0;
	dev->acked = 0;
	dev->device_features_select = 0;
	dev->driver_features_select = 0;
	dev->queue_select = 0;
	atomic_store(&dev->interrupt_status, 0);
}
