/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front-end of a vhost-user device.
 *
 * Theory of operation. The back-end maps guest memory and serves the queues; nothing of the data
 * passes through this process. KVM signals a queue's kick eventfd, which the back-end has; the
 * back-end signals an eventfd that is the guest's interrupt itself where the transport can have it
 * so, and else one of ours, by way of which the VMM thread interrupts the guest.
 *
 * The VMM thread does all that is said to the back-end, and waits for none of it: the queues are
 * handed over by messages without answers, a handshake goes on with each answer that arrives, and a
 * timer ends what takes too long. A driver that starts the device only wakes the VMM thread. Two
 * things wait: a start, which has nothing else to do, and a driver's reset on its vCPU, since no
 * back-end may touch the guest's memory afterwards. That one gives the device's lock up, and has
 * the link meanwhile (is_stopping). It uses write() and read(), which vCPU threads have anyway.
 *
 * A back-end that has gone is looked for again, by its path, a few times a second. What it had
 * taken from the queues and not answered must not be lost, and not be done twice either: by then
 * the driver may have put a chain's descriptors to another use. A back-end that offers
 * INFLIGHT_SHMFD keeps account of that in memory that its successor gets. One that does not is
 * followed only if all that was offered had been answered when the connection ended. The order of
 * the answers says nothing, as most back-ends answer in another one than they were asked; but those
 * of networks do not (is_in_order), and may lose frames. Otherwise the device needs a reset.
 *
 * The back-end is another security domain that can write to all of the guest's memory. It can't do
 * more: its messages are checked, its descriptors not taken, the memory's size is sealed.
 */
#include "devices/virtio/vhost/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/core/virtio_remote.h"
#include "devices/virtio/vhost/vhost_state.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define RETRY_NS (250 * NS_PER_MS)
#define PATIENCE_NS (VHOST_PATIENCE_MS * NS_PER_MS)

enum {
	RING_IDX = 2 /* offset of the index in both rings [virtio-1.2 §2.7.6, §2.7.8] */
};

const struct metric_field vhost_metric_fields[VHOST_METRIC_FIELDS] = {
	{METRIC_COUNT(vhost_metrics, activate_fails)},
	{METRIC_COUNT(vhost_metrics, cfg_fails)},
	{METRIC_ROW(vhost_metrics, init_time_us, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(vhost_metrics, activate_time_us, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(vhost_metrics, config_change_time_us, METRIC_GAUGE, METRIC_US)},
	{METRIC_COUNT(vhost_metrics, disconnect_count)},
	{METRIC_COUNT(vhost_metrics, reconnect_count)},
};

struct vhost_user *vhost_user_of(struct virtio_dev *dev)
{
	return container_of(dev, struct vhost_user, dev);
}

static uint64_t now_us(const struct vhost_user *vu)
{
	return vu->dev.clock->now_ns(CLOCK_MONOTONIC) / NS_PER_US;
}

/* --- Handing the queues over --- */

static bool is_used(const struct vhost_user *vu, unsigned index)
{
	return vu->dev.queues[index].vq.size != 0;
}

static int send_memory(const struct vhost_user *vu, struct error *err)
{
	const struct gmem *mem = vu->dev.mem;
	struct vhost_region regions[GMEM_REGIONS_MAX];
	int fds[GMEM_REGIONS_MAX];
	struct vhost_msg msg;
	size_t count = gmem_region_count(mem);

	_Static_assert((int)GMEM_REGIONS_MAX <= (int)VHOST_REGIONS_MAX, "one message has them all");
	for (size_t i = 0; i < count; i++) {
		const struct gmem_slot slot = gmem_slot(mem, i);

		fds[i] = slot.fd;
		regions[i] = (struct vhost_region){slot.base.v, slot.len, slot.offset};
	}
	vhost_msg_memory(&msg, regions, count);
	return vhost_link_send(&vu->link, &msg, fds, count, err);
}

/* A device that starts afresh has no request in flight; a punched hole is zeroes. */
static int send_inflight(const struct vhost_user *vu, struct error *err)
{
	const int zeroes = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	struct vhost_inflight inflight = vu->link.inflight;
	struct vhost_msg msg;

	if (vu->inflight_fd < 0) {
		return 0;
	}
	if (vu->is_fresh && fallocate(vu->inflight_fd, zeroes, 0, (off_t)inflight.len) < 0) {
		return error_sys(err, "Cannot clear the memory for requests in flight");
	}
	inflight.queues = (uint16_t)vu->dev.queue_count;
	inflight.queue_size = VHOST_QUEUE_SIZE;
	vhost_msg_inflight(&msg, VHOST_SET_INFLIGHT_FD, &inflight);
	return vhost_link_send(&vu->link, &msg, &vu->inflight_fd, 1, err);
}

static int send_ring(const struct vhost_user *vu, enum vhost_request request, unsigned index,
		     uint32_t num, struct error *err)
{
	struct vhost_msg msg;

	vhost_msg_ring(&msg, request, index, num);
	return vhost_link_send(&vu->link, &msg, NULL, 0, err);
}

static int send_eventfd(const struct vhost_user *vu, enum vhost_request request, unsigned index,
			int fd, struct error *err)
{
	struct vhost_msg msg;

	vhost_msg_u64(&msg, request, index);
	return vhost_link_send(&vu->link, &msg, &fd, 1, err);
}

static int send_queue(const struct vhost_user *vu, unsigned index, struct error *err)
{
	const struct virtq *vq = &vu->dev.queues[index].vq;
	const struct vhost_ring_addr addr = {
		.ring = index,
		.desc = vq->desc_gpa.v,
		.used = vq->used_gpa.v,
		.avail = vq->avail_gpa.v,
	};
	int call = virtio_call_fd(&vu->calls[index]);
	struct vhost_msg msg;

	vhost_msg_addr(&msg, &addr);
	if (send_ring(vu, VHOST_SET_VRING_NUM, index, vq->size, err) < 0 ||
	    send_ring(vu, VHOST_SET_VRING_BASE, index, vu->bases[index], err) < 0 ||
	    vhost_link_send(&vu->link, &msg, NULL, 0, err) < 0 ||
	    send_eventfd(vu, VHOST_SET_VRING_CALL, index, call, err) < 0 ||
	    send_eventfd(vu, VHOST_SET_VRING_KICK, index, vu->dev.queues[index].kick.fd, err) < 0) {
		return -1;
	}
	/* Without features of the protocol a ring is enabled from the first. */
	return (vu->link.features & VHOST_F_PROTOCOL_FEATURES) == 0
		       ? 0
		       : send_ring(vu, VHOST_SET_VRING_ENABLE, index, 1, err);
}

static int send_all(const struct vhost_user *vu, struct error *err)
{
	uint64_t features = (vu->dev.acked & ~vu->own_features) |
			    (vu->link.features & VHOST_F_PROTOCOL_FEATURES);
	struct vhost_msg msg;

	vhost_msg_u64(&msg, VHOST_SET_FEATURES, features);
	if (vhost_link_send(&vu->link, &msg, NULL, 0, err) < 0 || send_memory(vu, err) < 0 ||
	    send_inflight(vu, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < vu->dev.queue_count; i++) {
		if (is_used(vu, i) && send_queue(vu, i, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* --- The end of a connection --- */

/* An index that is in the guest's memory; 0 of a ring that is not there. */
static uint16_t ring_index(const struct vhost_user *vu, gpa_t ring)
{
	uint8_t bytes[sizeof(uint16_t)] = {0};

	(void)!gmem_read(vu->dev.mem, GPA(ring.v + RING_IDX), bytes, sizeof(bytes));
	return load_le16(bytes);
}

/*
 * Notes where the next back-end begins: behind what was answered. False: requests are lost, as
 * nobody knows which of those that were offered the last one had answered.
 */
static bool note_bases(struct vhost_user *vu)
{
	bool is_known = vu->inflight_fd >= 0;
	bool is_all_answered = true;

	for (unsigned i = 0; i < vu->dev.queue_count; i++) {
		const struct virtq *vq = &vu->dev.queues[i].vq;

		if (is_used(vu, i)) {
			vu->bases[i] = ring_index(vu, vq->used_gpa);
			is_all_answered &= ring_index(vu, vq->avail_gpa) == vu->bases[i];
		}
	}
	return !vu->is_stateful && (is_known || is_all_answered || vu->is_in_order);
}

static void end_config(struct vhost_user *vu, const struct error *err)
{
	if (vu->link.awaited == VHOST_GET_CONFIG && vu->link.step == VHOST_STEP_READY) {
		metric_add(&vu->metrics.cfg_fails, 1);
		vu->config_error = *err;
		(void)!eventfd_write(vu->told, 1);
	}
}

static void set_link(struct vhost_user *vu, bool is_up)
{
	if (vu->set_link != NULL) {
		vu->set_link(vu, is_up);
	}
}

/* The connection is of no use any more. VMM thread. */
static void drop(struct vhost_user *vu, const struct error *err)
{
	bool was_running = vu->state == VHOST_RUNNING || vu->is_held;
	bool had_begun = vu->state != VHOST_GREETING;

	end_config(vu, err);
	ev_del(vu->dev.loop, &vu->socket);
	vhost_link_close(&vu->link);
	vu->is_lost = false;
	vu->is_held = false;
	vu->state = VHOST_DOWN;
	if (had_begun) {
		metric_add(&vu->metrics.disconnect_count, 1);
		set_link(vu, false);
	}
	if (!was_running || note_bases(vu)) {
		log_guest_warn("The %s device %s has lost its back-end %s, and looks for it: %s",
			       vu->dev.class->name, vu->dev.id, vu->path, err->msg);
		ev_timer_set(&vu->timer, RETRY_NS, 0);
		return;
	}
	vu->state = VHOST_GIVEN_UP;
	log_guest_warn("The %s device %s has lost its back-end %s%s: %s. It can't be used until "
		       "its driver resets it",
		       vu->dev.class->name, vu->dev.id, vu->path,
		       vu->is_stateful ? "" : ", which keeps no account of requests in flight",
		       err->msg);
	virtio_need_reset(&vu->dev);
}

/* Hands the queues over, if both sides are ready. */
static void run(struct vhost_user *vu)
{
	struct error err = {0};
	uint64_t begin_us = now_us(vu);

	if (vu->state != VHOST_IDLE || vu->is_held || !virtio_works(&vu->dev)) {
		return;
	}
	if (send_all(vu, &err) < 0) {
		metric_add(&vu->metrics.activate_fails, 1);
		drop(vu, &err);
		return;
	}
	vu->state = VHOST_RUNNING;
	vu->is_fresh = false;
	metric_set(&vu->metrics.activate_time_us, now_us(vu) - begin_us);
}

/* --- Answers --- */

/* Of a driver that works with it already, this and another back-end must look the same. */
static int check_features(const struct vhost_user *vu, struct error *err)
{
	uint64_t lacking = vu->dev.offered & ~vu->own_features & ~vu->link.features;
	bool has_inflight = (vu->link.protocol & VHOST_PROTOCOL_F_INFLIGHT_SHMFD) != 0;

	if (lacking != 0) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "It lacks features %#llx, which the one before had",
				 (unsigned long long)lacking);
	}
	if (has_inflight != (vu->inflight_fd >= 0)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "It %s account of requests in flight, unlike the one before",
				 has_inflight ? "keeps" : "keeps no");
	}
	return 0;
}

static bool hands_state(const struct vhost_user *vu)
{
	return (vu->link.protocol & VHOST_PROTOCOL_F_DEVICE_STATE) != 0;
}

static void greeted(struct vhost_user *vu)
{
	struct error err = {0};

	if (check_features(vu, &err) < 0) {
		drop(vu, &err);
		return;
	}
	ev_timer_set(&vu->timer, 0, 0);
	vu->state = VHOST_IDLE;
	vu->has_state = hands_state(vu);
	metric_add(&vu->metrics.reconnect_count, 1);
	log_guest_info("The %s device %s has its back-end %s again", vu->dev.class->name,
		       vu->dev.id, vu->path);
	set_link(vu, true);
	if (vu->wants.config_len > 0 &&
	    memcmp(vu->dev.config, vu->link.config, vu->wants.config_len) != 0) {
		memcpy(vu->dev.config, vu->link.config, vu->wants.config_len);
		virtio_config_changed(&vu->dev);
	}
	run(vu);
}

/* The answer to vhost_user_ask_config is there. */
static void take_config(struct vhost_user *vu)
{
	error_clear(&vu->config_error);
	if (vhost_link_take_config(&vu->link, &vu->wants, &vu->config_error) == 0) {
		memcpy(vu->dev.config, vu->link.config, vu->wants.config_len);
		virtio_config_changed(&vu->dev);
		metric_set(&vu->metrics.config_change_time_us, now_us(vu) - vu->began_us);
	} else {
		metric_add(&vu->metrics.cfg_fails, 1);
	}
	(void)!eventfd_write(vu->told, 1);
}

static void serve_socket(struct vhost_user *vu)
{
	struct error err = {0};

	/* At most one answer for each request: what comes unasked ends it. */
	while (vhost_link_read(&vu->link, &err) > 0) {
		if (vu->state != VHOST_GREETING) {
			ev_timer_set(&vu->timer, 0, 0);
			take_config(vu);
		} else if (vhost_link_advance(&vu->link, &vu->wants, &err) < 0) {
			break;
		} else if (vu->link.step == VHOST_STEP_READY) {
			greeted(vu);
		}
		if (vu->link.fd < 0) {
			return;
		}
	}
	if (err.kind != ERR_NONE) {
		drop(vu, &err);
	}
}

static void on_socket(struct ev_source *source, uint32_t ready)
{
	struct vhost_user *vu = container_of(source, struct vhost_user, socket);

	(void)ready;
	virtio_lock(&vu->dev);
	if (!vu->is_stopping && vu->link.fd >= 0) {
		serve_socket(vu);
	}
	virtio_unlock(&vu->dev);
}

/* --- Connecting again --- */

static int watch(struct vhost_user *vu, struct error *err)
{
	vu->socket.fd = vu->link.fd;
	/* Edges, as a reset on a vCPU reads in our place. */
	return ev_add(vu->dev.loop, &vu->socket, EPOLLIN | EPOLLRDHUP | EPOLLET, err);
}

static void connect_again(struct vhost_user *vu)
{
	struct error err = {0};

	if (vhost_link_connect(&vu->link, vu->path, &err) < 0) {
		ev_timer_set(&vu->timer, RETRY_NS, 0);
		return;
	}
	vu->state = VHOST_GREETING;
	ev_timer_set(&vu->timer, PATIENCE_NS, 0);
	if (watch(vu, &err) < 0 || vhost_link_greet(&vu->link, &vu->wants, &err) < 0) {
		drop(vu, &err);
	}
}

static void on_timer(struct ev_timer *timer)
{
	struct vhost_user *vu = container_of(timer, struct vhost_user, timer);
	struct error err = {0};

	virtio_lock(&vu->dev);
	if (vu->is_stopping) {
		/* The reset has a limit of its own. */
		ev_timer_set(timer, PATIENCE_NS, 0);
	} else if (vu->state == VHOST_DOWN) {
		connect_again(vu);
	} else if (vu->link.awaited != VHOST_NONE) {
		error_set(&err, ERR_HOST, "It has not answered %s within %d ms",
			  vhost_request_name(vu->link.awaited), VHOST_PATIENCE_MS);
		drop(vu, &err);
	}
	virtio_unlock(&vu->dev);
}

/* What another thread has left to do. */
static void on_wake(struct ev_wake *wake)
{
	struct vhost_user *vu = container_of(wake, struct vhost_user, wake);
	struct error err = {0};

	virtio_lock(&vu->dev);
	if (vu->is_stopping) {
		virtio_unlock(&vu->dev);
		return;
	}
	if (vu->is_lost) {
		error_set(&err, ERR_HOST, "It has not stopped its queues in time");
		drop(vu, &err);
	} else if (vu->state == VHOST_DOWN) {
		ev_timer_set(&vu->timer, RETRY_NS, 0);
	} else if (vu->link.fd >= 0) {
		serve_socket(vu);
	}
	run(vu);
	virtio_unlock(&vu->dev);
}

/* --- The driver --- */

int vhost_user_activate(struct virtio_dev *dev, struct error *err)
{
	(void)err;
	ev_wake_signal(&vhost_user_of(dev)->wake);
	return 0;
}

/* Never called: the back-end has the kicks. */
void vhost_user_queue_ready(struct virtio_dev *dev, unsigned index)
{
	(void)dev;
	(void)index;
}

/* Without the lock; the link is ours. `bases` are the entries that the back-end would take next. */
static int stop_queues(struct vhost_user *vu, uint16_t bases[VIRTIO_QUEUES_MAX],
		       uint64_t deadline_ms, struct error *err)
{
	if (vu->link.awaited == VHOST_GET_CONFIG) {
		if (vhost_link_wait(&vu->link, deadline_ms, err) < 0) {
			return -1;
		}
		virtio_lock(&vu->dev);
		take_config(vu);
		virtio_unlock(&vu->dev);
	}
	for (unsigned i = 0; i < vu->dev.queue_count; i++) {
		if (is_used(vu, i) &&
		    vhost_link_stop(&vu->link, i, deadline_ms, &bases[i], err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* Has the back-end give back all that it has of the guest's memory. Gives the lock up. */
static void stop(struct vhost_user *vu)
{
	struct error err = {0};
	uint16_t bases[VIRTIO_QUEUES_MAX];

	vu->is_stopping = true;
	virtio_unlock(&vu->dev);
	int result = stop_queues(vu, bases, vhost_deadline_ms(), &err);

	virtio_lock(&vu->dev);
	vu->is_stopping = false;
	vu->state = VHOST_IDLE;
	if (result < 0) {
		vu->is_lost = true;
		log_guest_warn("The %s device %s is reset, but its back-end may go on with what it "
			       "has of it: %s",
			       vu->dev.class->name, vu->dev.id, err.msg);
	}
}

void vhost_user_reset(struct virtio_dev *dev)
{
	struct vhost_user *vu = vhost_user_of(dev);

	if (vu->is_ending) {
		return;
	}
	if (vu->state == VHOST_RUNNING) {
		stop(vu);
	} else if (vu->state == VHOST_GIVEN_UP) {
		vu->state = VHOST_DOWN;
	}
	memset(vu->bases, 0, sizeof(vu->bases));
	vu->is_fresh = true;
	vu->is_held = false;
	ev_wake_signal(&vu->wake);
}

/* --- Saving and loading --- */

bool vhost_user_is_saved(struct virtio_dev *dev)
{
	const struct vhost_user *vu = vhost_user_of(dev);

	virtio_lock(dev);
	bool result = vu->has_state;

	virtio_unlock(dev);
	return result;
}

/* All that the back-end has taken is answered; what it has in hand would be lost. */
static bool is_answered(const struct vhost_user *vu)
{
	bool result = true;

	for (unsigned i = 0; i < vu->dev.queue_count; i++) {
		if (is_used(vu, i)) {
			result &= ring_index(vu, vu->dev.queues[i].vq.used_gpa) == vu->bases[i];
		}
	}
	return result;
}

/* A back-end with several threads may answer what it has taken after it has stopped its queues. */
static int await_answers(const struct vhost_user *vu, uint64_t deadline_ms, struct error *err)
{
	while (!is_answered(vu)) {
		struct pollfd source = {.fd = vu->link.fd};

		if (poll(&source, 1, 1) != 0 || clock_now_ms() >= deadline_ms) {
			return error_set(err, ERR_HOST,
					 "The back-end %s has not answered all that it has taken "
					 "in time: try again",
					 vu->path);
		}
	}
	return 0;
}

/*
 * Has the back-end stop its queues, unless it did at a save before. The driver's lock is held, and
 * with it no vCPU resets the device, so that the lock of the device need not be given up.
 */
static int hold(struct vhost_user *vu, uint64_t deadline_ms, struct error *err)
{
	if (vu->is_held) {
		return 0;
	}
	run(vu); /* of a driver that has just started it */
	if (vu->state != VHOST_RUNNING || vu->link.awaited != VHOST_NONE) {
		return error_set(err, ERR_BAD_STATE,
				 "The back-end %s is not connected, or is being asked: try again",
				 vu->path);
	}
	if (!vhost_has_time(deadline_ms)) {
		return error_set(err, ERR_BAD_STATE,
				 "The back-end %s was not asked, as others have taken the time of "
				 "this save: try again, or end a slow one",
				 vu->path);
	}
	if (stop_queues(vu, vu->bases, deadline_ms, err) < 0) {
		drop(vu, err);
		return -1;
	}
	vu->state = VHOST_IDLE;
	if (await_answers(vu, deadline_ms, err) < 0) {
		run(vu);
		return -1;
	}
	for (unsigned i = 0; i < vu->dev.queue_count; i++) {
		if (is_used(vu, i)) {
			virtq_seek(&vu->dev.queues[i].vq, vu->bases[i]);
		}
	}
	vu->is_held = true;
	return 0;
}

int vhost_user_save(struct virtio_dev *dev, struct virtio_remote_state *remote,
		    uint64_t deadline_ms, struct error *err)
{
	struct vhost_user *vu = vhost_user_of(dev);

	if (hold(vu, deadline_ms, err) < 0) {
		return -1;
	}
	if (vhost_state_save(&vu->link, remote, deadline_ms, err) == 0) {
		return 0;
	}
	if (vu->link.awaited != VHOST_NONE) {
		drop(vu, err);
	}
	return -1;
}

int vhost_user_load(struct virtio_dev *dev, const struct virtio_remote_state *remote,
		    struct error *err)
{
	struct vhost_user *vu = vhost_user_of(dev);

	if (!hands_state(vu)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The back-end %s takes no state (VHOST_USER_PROTOCOL_F_DEVICE_"
				 "STATE), so that it can't go on where another one was saved",
				 vu->path);
	}
	if (vhost_state_load(&vu->link, remote, vhost_deadline_ms(), err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < dev->queue_count; i++) {
		vu->bases[i] = dev->queues[i].vq.next_avail;
		/* An answer of which the guest may not have heard when it was saved. */
		if (is_used(vu, i)) {
			virtio_interrupt(dev, VIRTIO_CAUSE_USED, i);
		}
	}
	vu->is_held = true;
	return 0;
}

void vhost_user_resume(struct virtio_dev *dev)
{
	struct vhost_user *vu = vhost_user_of(dev);

	vu->is_held = false;
	run(vu);
}

/* --- The configuration --- */

int vhost_user_ask_config(struct vhost_user *vu, struct error *err)
{
	struct vhost_msg msg;
	eventfd_t old;
	int result = -1;

	vhost_msg_config(&msg, vu->wants.config_len);
	virtio_lock(&vu->dev);
	if (vu->is_stopping || (vu->state != VHOST_IDLE && vu->state != VHOST_RUNNING)) {
		error_set(err, ERR_BAD_STATE,
			  "The back-end %s is not connected; squib looks for it by itself",
			  vu->path);
	} else if (vu->link.awaited != VHOST_NONE) {
		error_set(err, ERR_BAD_STATE,
			  "The back-end %s is being asked by another request: wait for its answer",
			  vu->path);
	} else {
		(void)!eventfd_read(vu->told, &old);
		vu->began_us = now_us(vu);
		result = vhost_link_ask(&vu->link, &msg, -1, err);
		ev_timer_set(&vu->timer, PATIENCE_NS, 0);
	}
	if (result < 0) {
		metric_add(&vu->metrics.cfg_fails, 1);
	}
	virtio_unlock(&vu->dev);
	return result;
}

int vhost_user_config_result(struct vhost_user *vu, struct error *err)
{
	virtio_lock(&vu->dev);
	bool is_due = vu->link.awaited == VHOST_GET_CONFIG;
	struct error result = vu->config_error;

	virtio_unlock(&vu->dev);
	if (is_due) {
		return error_set(err, ERR_HOST, "The back-end has not answered yet");
	}
	return result.kind == ERR_NONE ? 0 : error_set(err, result.kind, "%s", result.msg);
}

/* --- Making --- */

static int check_memory(const struct gmem *mem, struct error *err)
{
	for (size_t i = 0; i < gmem_region_count(mem); i++) {
		if (!gmem_slot(mem, i).is_shared) {
			return error_set(err, ERR_NOT_SUPPORTED,
					 "Its back-end can't see the memory of this machine, which "
					 "was started or loaded without such devices: vhost-user "
					 "devices are there from the start on");
		}
	}
	return 0;
}

/* Zeroed memory: no request is in flight. */
static int make_inflight(struct vhost_user *vu, struct error *err)
{
	if (vu->link.inflight.len == 0) {
		return 0;
	}
	vu->inflight_fd = memfd_create("vhost_inflight", MFD_CLOEXEC);
	if (vu->inflight_fd < 0 || ftruncate(vu->inflight_fd, (off_t)vu->link.inflight.len) < 0) {
		return error_sys(err, "Cannot make memory for requests in flight");
	}
	return 0;
}

static int make_events(struct vhost_user *vu, struct error *err)
{
	vu->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vu->told < 0) {
		return error_sys(err, "Cannot make an eventfd for a back-end");
	}
	for (unsigned i = 0; i < vu->dev.queue_count; i++) {
		/* The back-end has it in our place. */
		ev_del(vu->dev.loop, &vu->dev.queues[i].kick);
		if (virtio_call_init(&vu->calls[i], &vu->dev, i, err) < 0) {
			return -1;
		}
	}
	vu->socket.fn = on_socket;
	vu->timer.fn = on_timer;
	vu->wake.fn = on_wake;
	return ev_timer_init(&vu->timer, vu->dev.loop, err) < 0 ||
			       ev_wake_init(&vu->wake, vu->dev.loop, err) < 0
		       ? -1
		       : watch(vu, err);
}

static int make_device(struct vhost_user *vu, const struct dev_env *env,
		       const struct vhost_params *params, struct error *err)
{
	const struct virtio_params virtio = {
		.class = params->class,
		.metrics = &vu->metrics,
		.activate_fails = &vu->metrics.activate_fails,
		.id = params->id,
		.features = params->features,
		.queue_count = params->wants.queues,
		.config_len = params->config_len,
	};

	if (virtio_init(&vu->dev, env, &virtio, err) < 0) {
		return -1;
	}
	vu->dev.offered = (vu->dev.offered & vu->link.features) | params->own_features;
	memcpy(vu->dev.config, vu->link.config, params->wants.config_len);
	return 0;
}

int vhost_user_init(struct vhost_user *vu, const struct dev_env *env,
		    const struct vhost_params *params, struct vhost_link *link, struct error *err)
{
	vu->link = *link;
	link->fd = -1;
	vu->inflight_fd = -1;
	vu->told = -1;
	vu->wants = params->wants;
	vu->own_features = params->own_features;
	vu->is_stateful = params->is_stateful;
	vu->is_in_order = params->is_in_order;
	vu->set_link = params->set_link;
	vu->is_fresh = true;
	vu->path = strdup(params->path);
	if (vu->path == NULL) {
		return error_sys(err, "Cannot keep the path of a socket");
	}
	if (check_memory(env->mem, err) < 0 ||
	    (vu->link.fd < 0 && vhost_link_open(&vu->link, vu->path, &vu->wants, err) < 0) ||
	    make_device(vu, env, params, err) < 0 || make_inflight(vu, err) < 0 ||
	    make_events(vu, err) < 0) {
		return -1;
	}
	metric_set(&vu->metrics.init_time_us, vu->link.open_us);
	vu->has_state = hands_state(vu);
	vu->state = VHOST_IDLE;
	return 0;
}

void vhost_user_destroy(struct vhost_user *vu)
{
	vu->is_ending = true;
	ev_timer_destroy(&vu->timer);
	ev_wake_destroy(&vu->wake);
	ev_del(vu->dev.loop, &vu->socket);
	for (size_t i = 0; i < ARRAY_COUNT(vu->calls); i++) {
		virtio_call_destroy(&vu->calls[i]);
	}
	vhost_link_close(&vu->link);
	virtio_destroy(&vu->dev);
	fd_close(&vu->inflight_fd);
	fd_close(&vu->told);
	free(vu->path);
	vu->path = NULL;
}
