/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device for EVA: virtio.c whole, with queues that answer anything, and a class whose
 * functions do nothing or fail.
 */
#ifndef TESTS_EVA_VIRTIO_H
#define TESTS_EVA_VIRTIO_H

#include "tests/eva/codec.h"
#include "tests/eva/epoll.h"
#include "tests/eva/error.h"
#include "tests/eva/eva.h"
#include "tests/eva/log.h"
#include "tests/eva/printf.h"

#include "devices/virtio/core/virtio.c"

#include "devices/virtio/core/virtio_leave.c"

/* --- In place of virtq.c --- */

int virtq_start(struct virtq *vq, const struct virtq_config *config, struct gmem *mem,
		uint64_t features, struct error *err)
{
	(void)mem;
	keep(features + config->desc.v + config->avail.v + config->used.v);
	if (any_bool()) {
		return error_set(err, ERR_GUEST, "");
	}
	vq->size = config->size;
	return 0;
}

void virtq_stop(struct virtq *vq)
{
	vq->size = 0;
}

enum virtq_result virtq_pop(struct virtq *vq, struct virtq_chain *chain)
{
	(void)vq;
	chain->head = (uint16_t)any_u32();
	return any_between(VIRTQ_EMPTY, VIRTQ_BROKEN);
}

uint16_t virtq_held(const struct virtq *vq)
{
	(void)vq;
	return (uint16_t)any_u32();
}

void virtq_rewind(struct virtq *vq, uint16_t count)
{
	(void)vq;
	keep(count);
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t written)
{
	(void)vq;
	keep(head + written);
}

bool virtq_publish(struct virtq *vq)
{
	(void)vq;
	return any_bool();
}

bool virtq_arm_kick(struct virtq *vq)
{
	(void)vq;
	return any_bool();
}

void virtq_disarm_kick(struct virtq *vq)
{
	(void)vq;
}

/* --- In place of the host --- */

int eventfd(unsigned count, int flags)
{
	keep(count + (unsigned)flags);
	return (int)any_between(0, 1000);
}

int eventfd_write(int fd, eventfd_t value)
{
	keep((uint64_t)fd + value);
	return 0;
}

void fd_close(int *fd)
{
	*fd = -1;
}

int ev_add(struct evloop *loop, struct ev_source *source, uint32_t mask, struct error *err)
{
	(void)loop;
	(void)source;
	(void)mask;
	return any_bool() ? 0 : error_sys(err, "");
}

void ev_del(struct evloop *loop, struct ev_source *source)
{
	(void)loop;
	(void)source;
}

static uint64_t now_ns(clockid_t clock)
{
	keep((uint64_t)clock);
	return any_u64();
}

/* --- The device --- */

static struct virtio_dev dev;

static void note(void *arg)
{
	(void)arg;
}

static int descriptor_of(void *arg)
{
	(void)arg;
	return 3;
}

static void config_write(struct virtio_dev *of, size_t offset, const uint8_t *data, size_t len)
{
	/*@ assert len <= VIRTIO_CONFIG_MAX && offset < VIRTIO_CONFIG_MAX; */
	(void)of;
	keep(data[0]);
}

static int activate_or_not(struct virtio_dev *of, struct error *err)
{
	(void)of;
	return any_bool() ? 0 : error_set(err, ERR_HOST, "");
}

static void queue_is_ready(struct virtio_dev *of, unsigned index)
{
	virtio_serve(of, index, any_u32());
}

static enum virtio_step next_of(struct virtio_dev *of, unsigned index)
{
	(void)of;
	keep(index);
	return any_between(VIRTIO_TAKE, VIRTIO_LATER);
}

static enum virtio_step take_of(struct virtio_dev *of, unsigned index,
				const struct virtq_chain *chain)
{
	virtio_spend(of, any_u64());
	keep(index + chain->head);
	return any_between(VIRTIO_DONE, VIRTIO_LATER);
}

static void take_fault(struct virtio_dev *of, unsigned index, enum virtq_result result)
{
	(void)of;
	keep(index + result);
}

static void end_turn(struct virtio_dev *of, unsigned index)
{
	(void)of;
	keep(index);
}

static void do_nothing(struct virtio_dev *of)
{
	(void)of;
}

static bool is_busy_or_not(const struct virtio_dev *of)
{
	(void)of;
	return any_bool();
}

static struct virtio_class class = {
	.type = VIRTIO_TYPE_RNG,
	.name = "any",
	.queue_ready = queue_is_ready,
	.take = take_of,
	.destroy = do_nothing,
};

/* A device as its constructor leaves it; false: there is none. */
static bool make_device(void)
{
	static const struct clock clock = {.now_ns = now_ns};
	static struct metric fails;
	const struct dev_env env = {.clock = &clock};
	const struct virtio_params params = {
		.class = &class,
		.id = "id",
		.features = any_u64(),
		.queue_count = 3,
		.config_len = any_u64(),
		.activate_fails = any_bool() ? &fails : NULL,
	};
	struct error err = {0};

	class.config_write = any_bool() ? config_write : NULL;
	class.activate = any_bool() ? activate_or_not : NULL;
	class.next = any_bool() ? next_of : NULL;
	class.fault = any_bool() ? take_fault : NULL;
	class.end_turn = any_bool() ? end_turn : NULL;
	class.reset = any_bool() ? do_nothing : NULL;
	class.quiesce = any_bool() ? do_nothing : NULL;
	class.resume = any_bool() ? do_nothing : NULL;
	class.is_busy = any_bool() ? is_busy_or_not : NULL;
	return virtio_init(&dev, &env, &params, &err) == 0;
}

#endif
