/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all virtio devices share.
 *
 * Theory of operation. A transport (mmio.c) takes the driver's register accesses and calls the
 * functions of virtio_internal.h; a device sits inside it and is called by way of struct
 * virtio_class. Three ways lead to a device's queues: KVM signals the kick eventfd for the guest,
 * the transport does so where a notification reached us as an exit, and activation does so for
 * every queue, since the driver may have offered chains and notified before. All three end in
 * on_kick on the VMM thread, which is therefore the only one to pop.
 *
 * A turn of a queue (virtio_serve) ends for one of four reasons. The queue is empty: it is armed,
 * so that the driver notifies of the next chain. The class waits for something else, such as its
 * rate limit: the queue stays disarmed, since a notification could do nothing. The budget or the
 * time is used up, or the class has had enough: the queue is kicked by us. The ring is nonsense:
 * the device breaks. What was pushed in a turn is published once, at its end, so that a batch costs
 * one interrupt.
 *
 * The budget bounds work that a class can tell beforehand, the time what the host makes of it. The
 * clock is read when a turn begins, and then whenever LOOK_STEPS units of the budget were spent:
 * after each large step, and seldom amid small ones.
 *
 * Kicks are edge-triggered, and their counters are never read: each write wakes the loop, whatever
 * the counter is [eventfd_signal in fs/eventfd.c], and one that comes while the queue is looked at
 * is an edge of its own. A thaw of the loop finds all counters that are not 0, so that each queue
 * that ever was in use is looked at once more, mostly in vain.
 *
 * A reset clears is_active first, then calls the class, then stops the queues. Where the class has
 * to wait for the host it gives the lock up; a kick that comes then is dropped, as one right before
 * the reset could be.
 *
 * A device that broke (a queue whose indexes are nonsense, an activation that failed) keeps
 * is_active as it was, so that the driver's reset still drains what is in flight. But its queues
 * are stopped, and a stopped queue is empty and takes nothing back.
 */
#include "devices/virtio/core/virtio.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/core/virtio_leave.h"
#include "devices/virtio/core/virtio_remote.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* The longest turn of a queue, and the work between two looks at the clock. */
#define TURN_NS (2 * NS_PER_MS)
enum {
	LOOK_STEPS = 8
};

static const struct metric_field interrupt_fields[] = {
	{METRIC_COUNT(interrupt_metrics, triggers)},
	{METRIC_COUNT(interrupt_metrics, config_updates)},
};

const struct metric_group interrupt_metric_group = {
	METRIC_GROUP("interrupts", interrupt_metrics, interrupt_fields, 0)};

void virtio_lock(struct virtio_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
}

void virtio_unlock(struct virtio_dev *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

void virtio_lock_driver(struct virtio_dev *dev)
{
	pthread_mutex_lock(&dev->driver_lock);
	virtio_lock(dev);
}

void virtio_unlock_driver(struct virtio_dev *dev)
{
	virtio_unlock(dev);
	pthread_mutex_unlock(&dev->driver_lock);
}

static bool is_broken(const struct virtio_dev *dev)
{
	return (dev->status & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

bool virtio_works(const struct virtio_dev *dev)
{
	return dev->is_active && !is_broken(dev);
}

/* The handler of a kick eventfd. */
static void on_kick(struct ev_source *source, uint32_t ready)
{
	struct virtio_queue *queue = container_of(source, struct virtio_queue, kick);
	struct virtio_dev *dev = queue->dev;

	(void)ready;
	virtio_lock(dev);
	if (virtio_works(dev)) {
		dev->class->queue_ready(dev, (unsigned)(queue - dev->queues));
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
		return error_sys(err, "Cannot allocate the queues of %s", dev->class->name);
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
			return error_sys(err, "Cannot create an eventfd for %s", dev->class->name);
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
		.class = params->class,
		.metrics = params->metrics,
		.mem = env->mem,
		.loop = env->loop,
		.clock = env->clock,
		.offered = params->features | VIRTIO_FEATURES_ALWAYS,
		.config_len = min_u64(params->config_len, VIRTIO_CONFIG_MAX),
		.activate_fails = params->activate_fails,
		.idle = -1,
		.driver_lock = PTHREAD_MUTEX_INITIALIZER,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	snprintf(dev->id, sizeof(dev->id), "%s", params->id);
	if (add_queues(dev, (unsigned)min_u64(params->queue_count, VIRTIO_QUEUES_MAX), err) < 0) {
		virtio_destroy(dev);
		return -1;
	}
	return 0;
}

void virtio_kick(struct virtio_dev *dev, unsigned index)
{
	/* Fails only when the counter is full, and then it is not 0. */
	(void)eventfd_write(dev->queues[index].kick.fd, 1);
}

void virtio_free(struct virtio_dev *dev)
{
	if (dev != NULL) {
		dev->class->destroy(dev);
	}
}

/* All of a queue's state is in guest memory or known to virtq_save. A stopped one has none. */
static bool is_settled(const struct virtq *vq)
{
	return vq->size == 0 || (virtq_held(vq) == 0 && vq->published == vq->next_used);
}

void virtio_quiesce(struct virtio_dev *dev)
{
	virtio_lock_driver(dev);
	if (dev->class->quiesce != NULL) {
		dev->class->quiesce(dev);
	}
	for (unsigned i = 0; i < dev->queue_count; i++) {
		assert(is_settled(&dev->queues[i].vq));
	}
	virtio_unlock_driver(dev);
}

static void kick_all(struct virtio_dev *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++) {
		virtio_kick(dev, i);
	}
}

void virtio_resume(struct virtio_dev *dev)
{
	virtio_lock(dev);
	if (dev->class->resume != NULL) {
		dev->class->resume(dev);
	}
	if (dev->is_active) {
		kick_all(dev);
	}
	/* A device that leaves still takes nothing, and may have got idle while it stood still. */
	if (!virtio_has_calls(dev)) {
		virtio_note_idle(dev);
	}
	virtio_unlock(dev);
}

void virtio_interrupt(struct virtio_dev *dev, enum virtio_cause cause, unsigned queue)
{
	if (dev->transport.interrupt != NULL) {
		dev->transport.interrupt(dev->transport.arg, cause, queue);
		metric_add(&dev->interrupts.triggers, 1);
	}
}

void virtio_publish(struct virtio_dev *dev, unsigned index)
{
	if (virtq_publish(&dev->queues[index].vq)) {
		virtio_interrupt(dev, VIRTIO_CAUSE_USED, index);
	}
}

void virtio_changed(const struct virtio_dev *dev)
{
	if (dev->transport.changed != NULL) {
		dev->transport.changed(dev->transport.arg);
	}
}

void virtio_config_changed(struct virtio_dev *dev)
{
	dev->config_generation++;
	virtio_changed(dev);
	/* Also before DRIVER_OK, as the driver may have read the old configuration by then. */
	if ((dev->status & VIRTIO_STATUS_DRIVER) != 0) {
		virtio_interrupt(dev, VIRTIO_CAUSE_CONFIG, 0);
	}
}

static void stop_queues(struct virtio_dev *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++) {
		virtq_stop(&dev->queues[i].vq);
	}
}

/* The notification is only for drivers that have said DRIVER_OK [virtio-1.2 §2.1.2]. */
void virtio_need_reset(struct virtio_dev *dev)
{
	stop_queues(dev);
	dev->status |= VIRTIO_STATUS_NEEDS_RESET;
	virtio_changed(dev);
	if ((dev->status & VIRTIO_STATUS_DRIVER_OK) != 0) {
		virtio_interrupt(dev, VIRTIO_CAUSE_CONFIG, 0);
	}
}

void virtio_break(struct virtio_dev *dev, unsigned index)
{
	if (!dev->is_active || is_broken(dev)) {
		return;
	}
	log_guest_warn("Queue %u of %s device %s has impossible indexes; the device waits for its "
		       "driver to reset it",
		       index, dev->class->name, dev->id);
	virtio_need_reset(dev);
}

/* --- Serving a queue --- */

void virtio_spend(struct virtio_dev *dev, uint64_t units)
{
	dev->budget -= (uint32_t)min_u64(units, dev->budget);
}

static void fault(struct virtio_dev *dev, unsigned index, enum virtq_result result)
{
	if (dev->class->fault != NULL) {
		dev->class->fault(dev, index, result);
	}
}

static enum virtio_step take_chain(struct virtio_dev *dev, unsigned index)
{
	struct virtq *vq = &dev->queues[index].vq;
	enum virtio_step step;

	switch (virtq_pop(vq, &dev->chain)) {
	case VIRTQ_EMPTY:
		break;
	case VIRTQ_OK:
		step = dev->class->take(dev, index, &dev->chain);
		if (step != VIRTIO_DONE) {
			virtq_rewind(vq, 1);
		}
		return step == VIRTIO_BACK ? VIRTIO_DONE : step;
	case VIRTQ_BAD:
		fault(dev, index, VIRTQ_BAD);
		virtq_push(vq, dev->chain.head, 0);
		return VIRTIO_DONE;
	case VIRTQ_BROKEN:
		virtio_publish(dev, index);
		fault(dev, index, VIRTQ_BROKEN);
		virtio_break(dev, index);
		return VIRTIO_WAIT;
	}
	/* One that came behind the look at an empty queue, its driver may not notify of. */
	return virtq_arm_kick(vq) ? VIRTIO_DONE : VIRTIO_WAIT;
}

uint64_t virtio_look(struct virtio_dev *dev)
{
	dev->now_ns = dev->clock->now_ns(CLOCK_MONOTONIC);
	return dev->now_ns;
}

void virtio_serve(struct virtio_dev *dev, unsigned index, uint32_t budget)
{
	const struct virtio_class *class = dev->class;
	struct virtq *vq = &dev->queues[index].vq;
	enum virtio_step step = VIRTIO_DONE;
	uint32_t seen = budget;

	if (!dev->is_active || dev->idle >= 0 || vq->size == 0) {
		return;
	}
	virtq_disarm_kick(vq);
	uint64_t end_ns = virtio_look(dev) + TURN_NS;

	for (dev->budget = budget; step == VIRTIO_DONE && dev->budget > 0;) {
		virtio_spend(dev, 1);
		step = class->next != NULL ? class->next(dev, index) : VIRTIO_TAKE;
		if (step == VIRTIO_TAKE) {
			step = take_chain(dev, index);
		}
		if (seen - dev->budget >= LOOK_STEPS) {
			seen = dev->budget;
			dev->budget = virtio_look(dev) < end_ns ? seen : 0;
		}
	}
	if (class->end_turn != NULL) {
		class->end_turn(dev, index);
	}
	virtio_publish(dev, index);
	if (step != VIRTIO_WAIT) {
		virtio_kick(dev, index);
	}
}

/* --- Starting and ending --- */

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

static void activate(struct virtio_dev *dev)
{
	struct error err = {0};

	if (start_queues(dev, &err) < 0 ||
	    (dev->class->activate != NULL && dev->class->activate(dev, &err) < 0)) {
		log_guest_warn("Cannot activate %s device %s: %s", dev->class->name, dev->id,
			       err.msg);
		if (dev->activate_fails != NULL) {
			metric_add(dev->activate_fails, 1);
		}
		virtio_need_reset(dev);
		return;
	}
	dev->is_active = true;
	kick_all(dev);
}

static void reset(struct virtio_dev *dev)
{
	bool was_active = dev->is_active;
	bool has_calls = virtio_has_calls(dev);

	dev->is_active = false;
	if (was_active && dev->class->reset != NULL) {
		dev->is_resetting = has_calls;
		dev->class->reset(dev);
		dev->is_resetting = false;
		virtio_note_idle(dev);
	}
	for (unsigned i = 0; i < dev->queue_count; i++) {
		reset_config(&dev->queues[i]);
	}
	dev->status = 0;
	dev->acked = 0;
	if (dev->transport.reset != NULL) {
		dev->transport.reset(dev->transport.arg);
	}
}

void virtio_reset(struct virtio_dev *dev)
{
	virtio_lock_driver(dev);
	reset(dev);
	virtio_unlock_driver(dev);
}

void virtio_destroy(struct virtio_dev *dev)
{
	if (dev->queues == NULL) {
		return;
	}
	virtio_reset(dev);
	for (unsigned i = 0; i < dev->queue_count; i++) {
		ev_del(dev->loop, &dev->queues[i].kick);
		fd_close(&dev->queues[i].kick.fd);
	}
	free(dev->queues);
	dev->queues = NULL;
	dev->queue_count = 0;
	pthread_mutex_destroy(&dev->lock);
	pthread_mutex_destroy(&dev->driver_lock);
}

/* --- What a driver does --- */

uint32_t virtio_word(uint64_t value, uint32_t word)
{
	return word < 2 ? (uint32_t)(value >> 32 * word) : 0;
}

void virtio_set_word(uint64_t *value, uint32_t word, uint32_t to)
{
	if (word < 2) {
		unsigned shift = 32 * word;

		*value = (*value & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)to << shift;
	}
}

struct virtio_queue *virtio_queue(struct virtio_dev *dev, uint32_t index)
{
	return index < dev->queue_count ? &dev->queues[index] : NULL;
}

/* The bit that a driver may set next, by the bits that are set. */
static uint8_t next_status(uint8_t status)
{
	static const uint8_t order[] = {
		VIRTIO_STATUS_ACKNOWLEDGE,
		VIRTIO_STATUS_DRIVER,
		VIRTIO_STATUS_FEATURES_OK,
		VIRTIO_STATUS_DRIVER_OK,
	};

	for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
		if ((status & order[i]) == 0) {
			return order[i];
		}
	}
	return 0;
}

static bool accept_features(const struct virtio_dev *dev)
{
	if ((dev->acked & ~dev->offered) != 0 || (dev->acked & VIRTIO_F_VERSION_1) == 0) {
		log_guest_warn("The driver of %s device %s wants features %#llx of %#llx: refused",
			       dev->class->name, dev->id, (unsigned long long)dev->acked,
			       (unsigned long long)dev->offered);
		return false;
	}
	return true;
}

void virtio_write_status(struct virtio_dev *dev, uint32_t value)
{
	/* DEVICE_NEEDS_RESET is ours: drivers write back what they have read. */
	uint8_t ours = VIRTIO_STATUS_NEEDS_RESET;
	uint8_t before = dev->status & (uint8_t)~ours;
	uint32_t wanted = value & ~(uint32_t)ours;

	if (value == 0) {
		reset(dev);
		return;
	}
	if ((wanted & VIRTIO_STATUS_FAILED) != 0) {
		dev->status |= VIRTIO_STATUS_FAILED;
		return;
	}
	if (wanted == before) {
		return;
	}
	if ((before & VIRTIO_STATUS_FAILED) != 0 || wanted != (before | next_status(before))) {
		log_guest_warn("The driver of %s device %s sets status %#x after %#x: ignored",
			       dev->class->name, dev->id, value, dev->status);
		return;
	}
	if (next_status(before) == VIRTIO_STATUS_FEATURES_OK && !accept_features(dev)) {
		return;
	}
	dev->status |= next_status(before);
	if (next_status(before) == VIRTIO_STATUS_DRIVER_OK) {
		activate(dev);
	}
}

/* The status has all bits of `set` and none of `clear`, FAILED or NEEDS_RESET. */
static bool is_in(const struct virtio_dev *dev, uint8_t set, uint8_t clear)
{
	const unsigned never = VIRTIO_STATUS_FAILED | VIRTIO_STATUS_NEEDS_RESET;

	return (dev->status & set) == set && (dev->status & (clear | never)) == 0;
}

void virtio_write_features(struct virtio_dev *dev, uint32_t word, uint32_t value)
{
	if (is_in(dev, VIRTIO_STATUS_DRIVER, VIRTIO_STATUS_FEATURES_OK)) {
		virtio_set_word(&dev->acked, word, value);
	}
}

struct virtq_config *virtio_queue_config(struct virtio_dev *dev, uint32_t index)
{
	struct virtio_queue *queue = virtio_queue(dev, index);
	bool is_time = is_in(dev, VIRTIO_STATUS_FEATURES_OK, VIRTIO_STATUS_DRIVER_OK);

	return queue != NULL && is_time ? &queue->config : NULL;
}

void virtio_read_config(const struct virtio_dev *dev, uint64_t offset, uint8_t *data, uint32_t len)
{
	if (offset < dev->config_len) {
		memcpy(data, dev->config + offset, min_u64(len, dev->config_len - offset));
	}
}

void virtio_write_config(struct virtio_dev *dev, uint64_t offset, const uint8_t *data, uint32_t len)
{
	bool is_within = offset < dev->config_len && len <= dev->config_len - offset;

	if (dev->class->config_write == NULL || !is_within ||
	    !is_in(dev, VIRTIO_STATUS_DRIVER, 0)) {
		log_guest_warn("A write to the configuration of %s device %s is ignored",
			       dev->class->name, dev->id);
		return;
	}
	dev->class->config_write(dev, offset, data, len);
}
