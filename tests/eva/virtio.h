/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device for EVA: virtio.c whole, with queues that answer anything, and a class whose
 * functions do nothing or fail.
 */
#ifndef TESTS_EVA_VIRTIO_H
#define TESTS_EVA_VIRTIO_H

#include "tests/eva/bus.h"
#include "tests/eva/epoll.h"
#include "tests/eva/log.h"
#include "tests/eva/printf.h"
#include "tests/eva/virtq.h"

#include "devices/virtio/core/virtio.c"

#include "devices/virtio/core/virtio_leave.c"

static uint64_t now_ns(clockid_t clock)
{
	keep((uint64_t)clock);
	return any_u64();
}

/* --- The device --- */

static struct virtio_dev dev;

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
